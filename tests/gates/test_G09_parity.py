"""G09 bites when the graph that ships does not answer as the model that was fitted."""

import math
import os
import shutil
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from contract.errors import FlightlineError
from contract.schema import Contract, Feature
from pipelines.evaluate import evaluate
from pipelines.gate import gate
from pipelines.package import package
from pipelines.train import train
from tests.gates.workshop import ROOT, at_full_size
from training import export
from training.gates.beside import PLACES, beside_thresholds, thresholds
from training.gates.graph import same_answers
from training.gates.policy import Parity
from training.model import columns

TWO = Contract(
    model="two",
    target="which",
    classes=("no", "yes"),
    scores="probability",
    features=(Feature("a", "number", "the first"), Feature("b", "number", "the second")),
)
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


def tree_pipeline(*before):
    """Boosted trees over TWO numbers, behind the steps of `before`; and the rows they were fitted on."""
    random = np.random.default_rng(0)
    rows = pl.DataFrame({"a": random.normal(size=500), "b": random.normal(size=500)})
    given = columns(rows, TWO)
    trees = HistGradientBoostingClassifier(max_iter=3, random_state=0)
    pipeline = Pipeline([*before, ("trees", trees)])
    return pipeline.fit(given.to_numpy(), (rows["a"] * rows["b"] > 0).to_numpy()), rows


@pytest.mark.unit
def test_rows_are_moved_to_both_sides_of_every_threshold():
    """One step below a threshold as float32, on it, one step above: three rows that differ in a number."""
    pipeline, rows = tree_pipeline()
    found = thresholds(pipeline, TWO, rows)
    moved = beside_thresholds(pipeline, TWO, rows)
    assert moved.height == 3 * PLACES
    on = {(name, float(np.float32(value))) for index, value in found for name in [("a", "b")[index]]}
    assert len(on) > 10
    seen = set()
    for place in range(PLACES):
        three = moved[3 * place : 3 * place + 3]
        (name,) = [name for name in ("a", "b") if three[name].n_unique() > 1]
        low, middle, high = (np.float32(value) for value in three[name])
        assert np.nextafter(low, np.float32(np.inf)) == middle == np.nextafter(high, np.float32(-np.inf))
        seen.add((name, float(middle)))
    assert seen == on


@pytest.mark.unit
def test_thresholds_on_another_scale_are_not_taken_for_the_numbers_own():
    """Behind a scaler they are no values of the inputs: there each row's own number is moved."""
    pipeline, rows = tree_pipeline(("scale", StandardScaler()))
    assert thresholds(pipeline, TWO, rows) == []
    moved = beside_thresholds(pipeline, TWO, rows)
    assert moved.height == 3 * rows.height * 2
    assert moved[1].equals(
        rows.select(pl.all().cast(pl.Float32).cast(pl.Float64))[0].with_columns(b=rows["b"][0])
    )
    assert moved[0, "a"] < moved[1, "a"] < moved[2, "a"]


@at_full_size
def test_rounded_thresholds_are_stopped(workshop, monkeypatch):
    """The stock conversion sends rows beside a threshold the other way; rounding down does not."""
    assert pl.read_parquet(workshop.artifacts.near).height > 1000
    monkeypatch.setattr(export, "floor_thresholds", lambda pipeline: pipeline)
    workshop.rebuild(train)
    assert workshop.failed() == {"G09"}
    assert "a score differs by" in workshop.verdicts()["G09"].reason
    workshop.must_stop("G09")


# A process that trains flights on boosted trees which split the origin as a category.
NATIVE = """
import dataclasses
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline
from pipelines.cli import command
from pipelines.train import main
from training.learning import boosted_trees, target
from training.model import columns
from training.models import flights

def fit(contract, rows, validation, params, seed):
    fitted = boosted_trees(contract, rows, validation, params, seed)
    prepare = fitted.pipeline["prepare"]
    origin = len(flights.CONTRACT.features) - 2
    trees = HistGradientBoostingClassifier(max_iter=2, categorical_features=[origin], random_state=seed)
    trees.fit(prepare.transform(columns(rows, flights.CONTRACT)), target(rows))
    return dataclasses.replace(fitted, pipeline=Pipeline([("prepare", prepare), ("trees", trees)]))

flights.MODEL = dataclasses.replace(flights.MODEL, fit=fit)
command(main)
"""


def test_trees_that_split_categories_themselves_are_refused_by_name(workshop):
    """They convert without an error, and wrongly: training exits with 1, and there is nothing to register."""
    shutil.rmtree(workshop.artifacts.bundle)  # what an earlier build made is no product of this one
    before = workshop.world()
    workshop.change("params.yaml", "train.max_iter", 5)
    found = subprocess.run(
        [sys.executable, "-c", NATIVE, "flights"],
        cwd=workshop.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert found.returncode == 1
    assert "error: boosted trees with native categorical splits" in found.stderr
    with pytest.raises(FlightlineError, match=r"model\.onnx is missing"):
        workshop.rebuild(package)
    for step in (workshop.qualify, workshop.register):
        with pytest.raises(FlightlineError):
            step()
    assert workshop.world() == before


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
    rows = answers.height + pl.read_parquet(workshop.artifacts.near).height
    assert workshop.verdicts()["G09"].reason == f"1 of {rows} rows get another label"
    workshop.must_stop("G09")
