"""Every input is scored exactly once, however often the run is cut off; a bad one is refused and told."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from contract.errors import FlightlineError
from contract.scores import SUFFIX
from pipelines.scoring import batches, tables
from pipelines.scoring.batches import Order, facts, outputs, score_all
from pipelines.scoring.inputs import find_inputs
from pipelines.scoring.publishing import publish
from serving.rows import decode_rows
from serving.scores import Scores
from tests.conftest import make_release
from tests.pipelines.killing import killed_everywhere
from tests.pipelines.scoring.conftest import load, rows

ROOT = Path(__file__).parents[3]


def silent(_):
    """Say nothing."""


def score(predictor, source, output, **changes):
    """Score a folder, a file or a glob."""
    order = Order(output, changes.pop("rejects", None), "id", 2)
    return list(score_all(find_inputs(str(source)), order, predictor, silent))


@pytest.fixture
def source(tmp_path):
    """Two files, one in a folder of its own."""
    (tmp_path / "in" / "deep").mkdir(parents=True)
    rows(100).write_parquet(tmp_path / "in" / "a.parquet")
    rows(50, start=100).write_parquet(tmp_path / "in" / "deep" / "b.parquet")
    return tmp_path / "in"


def test_answers_are_the_services_row_for_row(tmp_path, predictor, source, monkeypatch):
    """Pieces of any size give the bits that one row gives, in the order of the input."""
    monkeypatch.setattr(tables, "PIECE_ROWS", 7)
    monkeypatch.setattr(tables, "RUN_ROWS", 3)
    score(predictor, source / "a.parquet", tmp_path / "out")
    found = pl.read_parquet(tmp_path / "out" / "a.parquet")
    assert found["row"].to_list() == list(range(100))
    assert found["entity_id"].to_list() == [f"flight/{number}" for number in range(100)]
    for number, row in enumerate(rows(100).drop("id").to_dicts()):
        one = decode_rows(predictor.contract, [row])
        labels, scores = predictor.predict(one.numbers, one.categories)
        assert found["label"][number] == predictor.contract.classes[labels[0]]
        assert [found[f"score.{name}"][number] for name in predictor.contract.classes] == scores[0].tolist()


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("", ["a.parquet", "deep/b.parquet"]),
        ("/deep/b.parquet", ["b.parquet"]),
        ("/*.parquet", ["a.parquet"]),
    ],
)
def test_a_folder_a_file_or_a_glob(tmp_path, predictor, source, given, names):
    """Outputs are named as the inputs are, below what was given."""
    found = score(predictor, f"{source}{given}", tmp_path / "out")
    made = [path.relative_to(tmp_path / "out").as_posix() for path in outputs(tmp_path / "out")]
    assert made == names
    assert [item.output for item in found] == [str(tmp_path / "out" / name) for name in names]


def test_an_output_says_what_it_is(tmp_path, predictor, source):
    """Input, hash, model and counts: whoever finds the file alone knows where it is from."""
    (item,) = score(predictor, source / "a.parquet", tmp_path / "out")
    found = facts(Path(item.output))
    assert found["digest"] == predictor.bundle.digest
    assert (found["version"], found["rows"], found["scored"], found["rejected"]) == ("7", "100", "100", "0")
    assert datetime.fromisoformat(found["scored_at"]) <= datetime.now(UTC)


def test_what_is_done_is_not_done_again(tmp_path, predictor, source, monkeypatch):
    """The second run reads no row and changes no byte; a new file is scored."""
    score(predictor, source, tmp_path / "out")
    before = {path: path.read_bytes() for path in outputs(tmp_path / "out")}
    rows(10, start=200).write_parquet(source / "c.parquet")
    scored = []
    real = batches.score_table
    monkeypatch.setattr(
        batches,
        "score_table",
        lambda task, *rest, **more: (scored.append(task.source), real(task, *rest, **more))[1],
    )
    found = score(predictor, source, tmp_path / "out")
    assert [item.reused for item in found] == [True, False, True]
    assert scored == [source / "c.parquet"]
    assert all(path.read_bytes() == data for path, data in before.items())


def test_an_input_that_changed_is_not_mixed_with_what_it_was(tmp_path, predictor, source):
    """Its answers are about other rows; the sentence says what to do."""
    score(predictor, source, tmp_path / "out")
    rows(99).write_parquet(source / "a.parquet")
    with pytest.raises(FlightlineError, match=r"a\.parquet is not the file that .* was made of"):
        score(predictor, source, tmp_path / "out")


def test_an_input_that_changes_meanwhile_is_refused(tmp_path, predictor, source, monkeypatch):
    """Half of it would have been the old one."""
    real = batches.score_table

    def changing(task, *rest, **more):
        found = real(task, *rest, **more)
        rows(99).write_parquet(task.source)
        return found

    monkeypatch.setattr(batches, "score_table", changing)
    (found,) = score(predictor, source / "a.parquet", tmp_path / "out")
    assert "changed while it was scored" in found.problem
    assert outputs(tmp_path / "out") == []


def test_one_folder_holds_the_answers_of_one_model(tmp_path, predictor, source):
    """Another version is another folder."""
    score(predictor, source, tmp_path / "out")
    other = load(make_release(tmp_path / "other" / "0", seed=5))
    with pytest.raises(FlightlineError, match="holds answers of toy version 7"):
        score(other, source, tmp_path / "out")


def bad(source):
    """The first file again, with two rows that the contract refuses."""
    table = rows(100).with_columns(
        pl.when(pl.col("id").is_in(["flight/40", "flight/90"]))
        .then(99.0)
        .otherwise(pl.col("width"))
        .alias("width")
    )
    table.write_parquet(source / "a.parquet")


def test_a_bad_row_refuses_its_file_and_no_other(tmp_path, predictor, source):
    """With the row, what was found and what was expected; the others are scored."""
    bad(source)
    first, second = score(predictor, source, tmp_path / "out")
    assert first.problem.startswith("a.parquet, row 40: width is 99; expected a number, at least 0.0")
    assert (first.output, second.scored) == ("", 50)
    assert [path.name for path in outputs(tmp_path / "out")] == ["b.parquet"]


def test_bad_rows_are_set_aside_where_that_is_asked_for(tmp_path, predictor, source):
    """Whole, with their number and the reason; all others are answered."""
    bad(source)
    first, _ = score(predictor, source, tmp_path / "out", rejects=tmp_path / "bad")
    assert (first.rows, first.scored, first.rejected) == (100, 98, 2)
    aside = pl.read_parquet(tmp_path / "bad" / "a.parquet")
    assert aside.select("id", "width", "row").rows() == [("flight/40", 99.0, 40), ("flight/90", 99.0, 90)]
    assert aside["reason"][0].startswith("width is 99")
    answered = pl.read_parquet(tmp_path / "out" / "a.parquet")["row"]
    assert sorted([*answered, 40, 90]) == list(range(100))
    assert not (tmp_path / "bad" / "deep").exists()


def test_rejects_among_the_answers_are_refused(tmp_path, predictor, source):
    """They would be taken for answers."""
    with pytest.raises(FlightlineError, match="Choose another --rejects"):
        score(predictor, source, tmp_path / "out", rejects=tmp_path / "out" / "bad")


def test_an_empty_table_has_an_empty_answer(tmp_path, predictor, source):
    """It is done, and need not be asked again."""
    rows(0).write_parquet(source / "a.parquet")
    (found,) = score(predictor, source / "a.parquet", tmp_path / "out")
    assert (found.problem, found.rows) == ("", 0)
    assert score(predictor, source / "a.parquet", tmp_path / "out")[0].reused


@pytest.mark.parametrize(
    ("break_it", "sentence"),
    [
        (lambda path: path.write_bytes(b"PAR1"), "is no Parquet file"),
        (lambda path: rows(5).drop("width").write_parquet(path), "has no column 'width'"),
        (lambda path: rows(5).drop("id").write_parquet(path), "has no column 'id'"),
    ],
)
def test_a_table_that_cannot_be_scored_is_a_sentence(tmp_path, predictor, source, break_it, sentence):
    """And leaves nothing behind."""
    break_it(source / "a.parquet")
    (found,) = score(predictor, source / "a.parquet", tmp_path / "out")
    assert sentence in found.problem
    assert outputs(tmp_path / "out") == []


def test_no_input_is_a_sentence(tmp_path):
    """A misspelt folder is not an empty one."""
    with pytest.raises(FlightlineError, match="there is no Parquet file at"):
        find_inputs(str(tmp_path / "nothing"))


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
    code = f"from tests.pipelines.scoring.test_batches import main; main({str(tmp_path)!r})"
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
            "from tests.pipelines.scoring.test_batches import only_score\n"
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


def test_published_answers_are_found_by_entity(tmp_path, predictor, source):
    """With the release that gave them; the rest is not there."""
    score(predictor, source, tmp_path / "out")
    made = publish(tmp_path / "out", predictor.contract, tmp_path / "scores", fresh_hours=24)
    assert (made.entities, made.replaced, made.without_id) == (150, 0, 0)
    store = Scores(tmp_path / "scores")
    found = store.find("toy", "flight/101")
    answers = pl.read_parquet(tmp_path / "out" / "deep" / "b.parquet").row(1, named=True)
    assert (found.label, found.digest, found.version) == (answers["label"], predictor.bundle.digest, "7")
    assert found.scores == {name: answers[f"score.{name}"] for name in predictor.contract.classes}
    assert found.fresh_hours == 24
    assert store.find("toy", "flight/999") is None
    assert store.find("other", "flight/101") is None
    store.close()


def test_the_last_answer_about_an_entity_counts(tmp_path, predictor, source):
    """A file that was scored later says the newer thing, whatever its name."""
    score(predictor, source, tmp_path / "out")
    rows(1).with_columns(pl.lit(9.5).alias("width")).write_parquet(source / "0.parquet")
    score(predictor, source, tmp_path / "out")
    made = publish(tmp_path / "out", predictor.contract, tmp_path / "scores")
    assert (made.entities, made.replaced) == (150, 1)
    store = Scores(tmp_path / "scores")
    wanted = pl.read_parquet(tmp_path / "out" / "0.parquet").row(0, named=True)
    assert store.find("toy", "flight/0").scores["low"] == wanted["score.low"]
    store.close()


def test_answers_without_ids_cannot_be_published(tmp_path, predictor, source):
    """The sentence says which option was missing."""
    order = Order(tmp_path / "out", None, "", 1)
    list(score_all(find_inputs(str(source)), order, predictor, silent))
    with pytest.raises(FlightlineError, match="Score with --id COLUMN"):
        publish(tmp_path / "out", predictor.contract, tmp_path / "scores")
    assert not (tmp_path / "scores" / f"toy{SUFFIX}").exists()
