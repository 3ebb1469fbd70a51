"""kill -9 at any moment of a compaction or a pruning: no row is lost, none is there twice, and it goes on."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from contract.segments import generations
from pipelines.logkeeping.compacting import compact, prune
from tests.pipelines.killing import killed_everywhere
from tests.pipelines.logkeeping.logs import NOW, fill, numbers

ROOT = Path(__file__).parents[3]
YOUNG = NOW + timedelta(days=9)


def linked(place: Path) -> None:
    """A log with a replaced folder that waits for its end, and new segments."""
    folder = place / "log" / "toy"
    fill(place / "log", 3)
    compact(folder)
    fill(place / "log", 2, at=YOUNG)


def plain(place: Path) -> None:
    """A log of an older version: a folder and no link."""
    linked(place)
    folder = place / "log" / "toy"
    real = folder.resolve()
    folder.unlink()
    real.rename(folder)


def merged(place: Path) -> None:
    """Compact, and keep nothing that was replaced."""
    compact(place / "log" / "toy", grace_s=0)


def pruned(place: Path) -> None:
    """Drop what is older than the young rows."""
    prune(place / "log" / "toy", 1, YOUNG, grace_s=0)


def nothing_lost(place: Path) -> None:
    """Every row once, in order, whether or not the compaction came through."""
    found = numbers(place / "log" / "toy")
    assert found == [*range(30), *range(20)], found


def young_kept(place: Path) -> None:
    """The young rows once; the old ones all or none."""
    found = numbers(place / "log" / "toy")
    assert found in ([*range(30), *range(20)], [*range(20)]), found


CASES = {
    "compact": (linked, merged, nothing_lost),
    "compact-plain": (plain, merged, nothing_lost),
    "prune": (linked, pruned, young_kept),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_kill_at_any_effect_leaves_every_row_once(tmp_path, case):
    """Before the first effect on the disk, before the second, to the last; then run again to the end."""
    code = f"from tests.pipelines.logkeeping.test_killed import main; main({case!r}, {str(tmp_path)!r})"
    # A process of its own: it forks, which one with threads must not.
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 8, "too few effects for the test to mean anything"


def main(case: str, folder: str) -> None:
    """Run one case and print how often it was killed."""
    print(killed_everywhere(Path(folder), *CASES[case]))


def test_a_kill_in_the_middle_leaves_what_the_next_run_removes(tmp_path):
    """A folder half made is nobody's: the next run takes it away, without waiting for any grace."""
    linked(tmp_path)
    folder = tmp_path / "log" / "toy"
    made = generations(folder)
    (made / ".part-x").mkdir()
    (made / "7").mkdir()
    compact(folder)
    assert not (made / ".part-x").exists()
    assert not (made / "7").exists()
    nothing_lost(tmp_path)
