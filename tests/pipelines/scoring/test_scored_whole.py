"""Runs in processes of their own: killed at any effect, and over tables larger than their memory (S2)."""

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from pipelines.scoring.batches import outputs
from pipelines.scoring.publishing import publish
from serving.scores import Scores
from tests.conftest import make_release
from tests.pipelines.killing import killed_everywhere
from tests.pipelines.scoring.conftest import rows
from tests.pipelines.scoring.scored import bad, score

ROOT = Path(__file__).parents[3]


def table_of(place: Path) -> None:
    """Two inputs, one with bad rows, and the model."""
    (place / "in").mkdir(parents=True)
    rows(30).write_parquet(place / "in" / "a.parquet")
    bad(place / "in")
    rows(20, start=100).write_parquet(place / "in" / "b.parquet")
    make_release(place / "release")


def scored_and_published(place: Path) -> None:
    """The whole run, as the command does it."""
    from contract.attestation import read_trust
    from contract.release import open_release
    from serving.models.predictor import Predictor

    trust = read_trust(place / "trust.json")
    bundle = open_release(place / "release", None, trust)
    predictor = Predictor.load(place / "release", bundle.digest, "7", trust)
    score(predictor, place / "in", place / "out", rejects=place / "bad")
    publish(place / "out", predictor.contract, place / "scores")


def each_row_once(place: Path) -> None:
    """Every output is whole and its rows and its rejects are its input's; what is published is whole."""
    for path in outputs(place / "out") if (place / "out").exists() else []:
        answered = pl.read_parquet(path)["row"].to_list()
        aside = place / "bad" / path.name
        found = answered + (pl.read_parquet(aside)["row"].to_list() if aside.exists() else [])
        assert sorted(found) == list(range(pl.read_parquet(place / "in" / path.name).height))
    store = Scores(place / "scores")
    published = store.find("toy", "flight/100")
    assert published is None or store.find("toy", "flight/1") is not None
    store.close()


@pytest.mark.slow
def test_a_kill_at_any_effect_ends_in_every_row_once(tmp_path):
    """Before the first effect on the disk, before the second, to the last; then run again to the end."""
    code = f"from tests.pipelines.scoring.test_scored_whole import main; main({str(tmp_path)!r})"
    # A process of its own: it forks, which one with threads must not.
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 15, "too few effects for the test to mean anything"


def main(folder: str) -> None:
    """Run it and print how often it was killed."""
    print(killed_everywhere(Path(folder), table_of, scored_and_published, each_row_once))


def test_memory_does_not_grow_with_the_table(tmp_path):
    """A row group of two million rows takes as much as one of a tenth: pieces are read, not groups."""
    peaks = []
    make_release(tmp_path / "release")
    for count in (200_000, 2_000_000):
        table = pl.concat([rows(50_000)] * (count // 50_000))
        table.write_parquet(tmp_path / f"{count}.parquet", row_group_size=count)
        code = (
            "from pathlib import Path\n"
            "from tests.pipelines.scoring.test_scored_whole import only_score\n"
            f"only_score(Path({str(tmp_path)!r}), {count})\n"
            "print(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
        )
        peaks.append(int(done.stdout) / 1024)
    # 1.8 million rows more: 75 MB of input and 80 MB of answers, were either held. Measured growth: 10 MB.
    assert peaks[1] - peaks[0] < 40, peaks


def only_score(place: Path, count: int) -> None:
    """Score one table in this process."""
    from contract.attestation import read_trust
    from contract.release import open_release
    from serving.models.predictor import Predictor

    trust = read_trust(place / "trust.json")
    bundle = open_release(place / "release", None, trust)
    predictor = Predictor.load(place / "release", bundle.digest, "7", trust)
    (found,) = score(predictor, place / f"{count}.parquet", place / "out")
    assert found.scored == count
