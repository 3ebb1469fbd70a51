"""What a bundle carries beside the graph follows from the run alone."""

import numpy as np
import polars as pl
import pytest

from contract.predictions import log_schema
from contract.strict import decode_json, encode_json
from tests.training.conftest import TOY
from training.export import run
from training.package import GOLDEN_ROWS, TOLERANCE, golden, reference

pytestmark = pytest.mark.unit


def thirds(table):
    """`table` with widths that need every digit."""
    return table.with_columns(pl.col("width") + 1 / 3)


@pytest.fixture(scope="module")
def answers(toy):
    """The golden rows of the small model."""
    # A third is in no float32: were a row rounded on its way into the file, its answer could be another.
    return golden(toy.graph, TOY, thirds(toy.test))


def test_golden_rows_give_their_answers_again_from_the_file(toy, answers):
    """Read back from JSON, each row gives its label and its scores to the last bit."""
    again = decode_json(encode_json(answers), type(answers), "golden.json")
    assert again == answers
    table = pl.DataFrame([row.row for row in again.rows], infer_schema_length=None)
    label, scores = run(toy.graph, TOY, table)
    assert [TOY.classes[answer] for answer in label] == [row.label for row in again.rows]
    assert np.array_equal(scores, np.array([row.scores for row in again.rows], dtype=np.float32))


def test_golden_rows_hold_every_feature_in_order_and_some_missing_values(answers):
    """A missing value is part of what a server must get right."""
    assert all(list(row.row) == ["letter", "width", "height"] for row in answers.rows)
    assert any(
        row.row["width"] == np.float32(row.row["width"]) != round(row.row["width"], 4) for row in answers.rows
    )
    assert any(row.row["height"] is None for row in answers.rows)
    assert (len(answers.rows), answers.tolerance) == (GOLDEN_ROWS, TOLERANCE)


def test_golden_rows_range_from_the_least_to_the_most_likely(toy, answers):
    """Both ends of the scores, and both labels."""
    _, scores = run(toy.graph, TOY, thirds(toy.test))
    found = [row.scores[1] for row in answers.rows]
    assert min(found) == scores[:, 1].min()
    assert max(found) == scores[:, 1].max()
    assert {row.label for row in answers.rows} == set(TOY.classes)


def test_few_held_out_rows_are_all_golden(toy):
    """Each once."""
    few = golden(toy.graph, TOY, toy.test.head(3))
    assert len(few.rows) == 3


def test_the_reference_has_the_columns_of_the_prediction_log(toy):
    """Monitoring compares column by column: same names, same types, and the day."""
    table = reference(toy.graph, TOY, toy.train, 7)
    layout = log_schema(TOY)
    shared = [name for name in layout if name.startswith(("feature.", "score."))]
    assert table.columns == ["label", "day", *shared]
    assert {name: table.schema[name] for name in shared} == {name: layout[name] for name in shared}
    assert table.height == toy.train.height
    assert set(table["label"]) == set(TOY.classes)


def test_the_reference_is_the_same_sample_again(toy, monkeypatch):
    """One seed, one sample, whatever the order of the rows that it is drawn from was on disk."""
    monkeypatch.setattr("training.package.REFERENCE_ROWS", 100)
    one, two, other = (reference(toy.graph, TOY, toy.train, seed) for seed in (7, 7, 8))
    assert one.height == 100
    assert one.equals(two)
    assert not one.equals(other)
