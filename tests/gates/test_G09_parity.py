"""G09 bites when the graph that ships does not answer as the model that was fitted."""

import math

import joblib
import numpy as np
import polars as pl
import pytest

from pipelines.evaluate import evaluate
from pipelines.gate import gate
from pipelines.train import train
from training import export
from training.gates.graph import same_answers
from training.gates.policy import Parity
from training.model import ID

LIMITS = Parity(max_difference=0.125)
LABEL = np.array([0, 1, 0])
SCORES = np.array([[0.75, 0.25], [0.25, 0.75], [0.5, 0.5]])


def verdict(label=LABEL, scores=SCORES):
    """The verdict on a graph's answers, where scikit-learn gave LABEL and SCORES."""
    return same_answers(LABEL, SCORES, label, scores, LIMITS)


def changed(value: float) -> np.ndarray:
    """SCORES with one number replaced."""
    scores = SCORES.copy()
    scores[1, 0] = value
    return scores


@pytest.mark.unit
@pytest.mark.parametrize(
    ("label", "scores", "problem"),
    [
        (np.array([0, 1, 1]), SCORES, "1 of 3 rows get another label"),
        (LABEL, changed(0.5), "a score differs by 0.25, over 0.125"),
        (LABEL, changed(math.nan), "a score differs by inf"),
        (LABEL, changed(math.inf), "a score differs by 1.798e+308"),
    ],
    ids=["flip", "score", "NaN", "infinite"],
)
def test_each_way_to_fail_is_named(label, scores, problem):
    """The reason counts the rows or gives the largest difference."""
    found = verdict(label, scores)
    assert found.verdict == "fail"
    assert problem in found.reason


@pytest.mark.unit
def test_a_threshold_of_nan_lets_nothing_pass():
    """Equal answers, and still no pass."""
    assert same_answers(LABEL, SCORES, LABEL, SCORES, Parity(max_difference=math.nan)).verdict == "fail"


@pytest.mark.unit
def test_equal_and_exactly_at_the_threshold_pass():
    """The threshold is the last difference that is allowed; the next float is too much."""
    assert verdict().verdict == "pass"
    assert verdict(scores=changed(0.375)).verdict == "pass"
    assert verdict(scores=changed(math.nextafter(0.375, 1))).verdict == "fail"


def near_thresholds(workshop) -> pl.DataFrame:
    """Held-out rows moved onto float32 values just above a threshold that rounds up to them.

    In float64 such a value lies above the threshold, and goes right; against the threshold rounded to the
    nearest float32 it is equal, and goes left.
    """
    trees = joblib.load(workshop.artifacts.model / "fitted.joblib").named_steps["trees"]
    numbers = [feature.name for feature in workshop.bundle.contract.numbers]
    test = workshop.part("test")
    moved = []
    for predictors in trees._predictors:
        for node in predictors[0].nodes:
            nearest = float(np.float32(node["num_threshold"]))
            if not node["is_leaf"] and node["feature_idx"] < len(numbers) and nearest > node["num_threshold"]:
                name = numbers[node["feature_idx"]]
                # Which rows come as far as this node is not known: some of thirty do.
                rows = test.sample(30, seed=len(moved)).with_columns(pl.lit(nearest).alias(name))
                moved.append(rows.with_columns(pl.format("near-{}/{}", pl.lit(len(moved)), ID).alias(ID)))
    return pl.concat(moved, how="vertical_relaxed")


def test_rounded_thresholds_are_stopped(workshop, monkeypatch):
    """The stock conversion sends rows next to a threshold the other way; rounding down does not."""
    rows = near_thresholds(workshop)
    assert rows.height > 10
    workshop.replace_part("test", pl.concat([workshop.part("test"), rows]))
    workshop.rebuild(train)
    assert "G09" not in workshop.failed()
    monkeypatch.setattr(export, "floor_thresholds", lambda pipeline: pipeline)
    workshop.rebuild(train)
    assert workshop.failed() == {"G09"}
    assert "a score differs by" in workshop.verdicts()["G09"].reason
    workshop.must_stop("G09")


def test_the_graph_of_another_model_is_stopped(workshop, weak):
    """A graph that was left behind by another training does not pass for this one's."""
    graph = (weak.path / "model.onnx").read_bytes()
    (workshop.artifacts.model / "model.onnx").write_bytes(graph)
    workshop.rebuild(evaluate)
    assert "G09" in workshop.failed()
    assert "rows get another label" in workshop.verdicts()["G09"].reason
    workshop.must_stop("G09")


def test_a_single_flipped_label_is_stopped(workshop):
    """Scores may be the same to the last bit: one row with another answer is one too many."""
    answers = pl.read_parquet(workshop.artifacts.predictions)
    first = pl.int_range(pl.len()) == 0
    flipped = pl.when(first).then(1 - pl.col("answer")).otherwise(pl.col("answer")).alias("answer")
    answers.with_columns(flipped).write_parquet(workshop.artifacts.predictions)
    workshop.rebuild(gate)
    assert workshop.failed() == {"G09"}
    assert workshop.verdicts()["G09"].reason == f"1 of {answers.height} rows get another label"
    workshop.must_stop("G09")
