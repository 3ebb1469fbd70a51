"""Every input is scored exactly once, however often the run is cut off; a bad one is refused and told."""

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from contract.errors import FlightlineError
from pipelines.scoring import batches, tables
from pipelines.scoring.batches import facts, outputs
from pipelines.scoring.inputs import find_inputs
from serving.rows import decode_rows
from tests.conftest import make_release
from tests.pipelines.scoring.conftest import load, rows
from tests.pipelines.scoring.scored import bad, score


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
