"""The graph answers as the pipeline does, to the last float32 step."""

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline

from contract.errors import FlightlineError
from tests.training.conftest import TOY, TREES, toy_rows
from training import export
from training.export import floor_thresholds, run, to_onnx
from training.learning import boosted_trees, logistic, target
from training.model import columns

pytestmark = pytest.mark.unit


def strange_rows(rows=600, seed=9):
    """Random rows with missing and infinite numbers, unknown, empty and missing categories."""
    random = np.random.default_rng(seed)
    odd = np.array([np.nan, np.inf, -np.inf, 0.0, 1e30, -1e30])
    table = toy_rows(rows, seed)
    put = random.random((2, rows)) < 0.2
    letters = random.choice(["a", "b", "c", "zzz", "", "ü"], rows)
    given = [None if missing else word for missing, word in zip(put[1], letters, strict=True)]
    width = np.where(put[0], random.choice(odd, rows), table["width"].to_numpy())
    return table.with_columns(
        pl.Series("width", width),
        pl.Series("letter", given),
    )


def near_thresholds(toy):
    """For each threshold of a number: rows at the nearest float32, one step below and one above it."""
    found = []
    names = [feature.name for feature in toy.contract.numbers]
    base = toy.test.with_row_index("line")
    for trees in toy.fitted.pipeline["trees"]._predictors:
        for tree in trees:
            inner = tree.nodes[(tree.nodes["is_leaf"] == 0) & (tree.nodes["feature_idx"] < len(names))]
            for feature, threshold in zip(inner["feature_idx"], inner["num_threshold"], strict=True):
                middle = np.float32(threshold)
                for value in (
                    np.nextafter(middle, np.float32(-9)),
                    middle,
                    np.nextafter(middle, np.float32(9)),
                ):
                    row = base[len(found) % base.height]
                    found.append(row.with_columns(pl.lit(float(value)).alias(names[feature])))
    return pl.concat(found).drop("line")


def differences(toy, graph, table):
    """Largest difference of a score between pipeline and graph, and the number of other labels."""
    given = columns(table, toy.contract)
    label, scores = run(graph, toy.contract, table)
    fitted = toy.fitted.pipeline.predict_proba(given)
    flips = int((toy.fitted.pipeline.predict(given) != label).sum())
    return float(np.abs(fitted - scores).max()), flips


@pytest.fixture(scope="module")
def stock(toy):
    """The graph as the converter would write it, thresholds rounded to the nearest float32."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "floor_thresholds", lambda pipeline: pipeline)
        return to_onnx(toy.fitted.pipeline, toy.contract)


def test_the_graph_answers_as_the_pipeline_on_strange_rows(toy):
    """NaN, infinities, unknown, empty and missing categories included."""
    worst, flips = differences(toy, toy.graph, strange_rows())
    assert worst < 1e-6
    assert flips == 0


def test_the_graph_answers_as_the_pipeline_beside_every_threshold(toy):
    """One float32 step to either side of each threshold is where rounding would show."""
    table = near_thresholds(toy)
    assert table.height > 500
    worst, flips = differences(toy, toy.graph, table)
    assert worst < 1e-6
    assert flips == 0


def test_without_flooring_rows_beside_thresholds_get_other_answers(toy, stock):
    """The test above bites: the stock conversion differs by far more than rounding."""
    worst, _ = differences(toy, stock, near_thresholds(toy))
    assert worst > 1e-3


def test_flooring_changes_no_answer_on_float32_rows(toy):
    """For a float32 number it is the same question."""
    exact = floor_thresholds(toy.fitted.pipeline)
    for table in (strange_rows(), near_thresholds(toy)):
        given = columns(table, toy.contract)
        assert np.array_equal(exact.predict_proba(given), toy.fitted.pipeline.predict_proba(given))


def test_floored_thresholds_are_float32_and_not_above_the_fitted_ones(toy):
    """The largest float32 that is not greater."""
    exact = floor_thresholds(toy.fitted.pipeline)
    pairs = zip(toy.fitted.pipeline["trees"]._predictors, exact["trees"]._predictors, strict=True)
    for (fitted,), (floored,) in pairs:
        inner = fitted.nodes["is_leaf"] == 0
        before, after = fitted.nodes["num_threshold"][inner], floored.nodes["num_threshold"][inner]
        assert np.array_equal(after, after.astype(np.float32).astype(np.float64))
        assert (after <= before).all()
        assert (np.nextafter(after.astype(np.float32), np.float32(np.inf)) > before).all()


def test_flooring_leaves_the_fitted_pipeline_as_it_was(toy):
    """It works on a copy."""
    nodes = toy.fitted.pipeline["trees"]._predictors[0][0].nodes
    before = nodes["num_threshold"].copy()
    floor_thresholds(toy.fitted.pipeline)
    assert np.array_equal(nodes["num_threshold"], before)


def test_native_categories_are_refused_by_name(toy):
    """They would convert without an error, into a graph that is wrong on every row."""
    codes = columns(toy.train, TOY).with_columns(
        pl.col("letter").replace_strict({"a": 0, "b": 1, "c": 2}, return_dtype=pl.Float32)
    )
    trees = HistGradientBoostingClassifier(max_iter=3, categorical_features=[2])
    pipeline = Pipeline([("trees", trees)]).fit(codes.to_numpy(), target(toy.train))
    with pytest.raises(FlightlineError, match=r"native categorical splits.*OrdinalEncoder"):
        to_onnx(pipeline, TOY)


def test_two_conversions_are_equal_bytes(toy):
    """Nothing random and no date is in the graph."""
    assert to_onnx(toy.fitted.pipeline, toy.contract) == toy.graph


def test_training_again_gives_equal_bytes(toy):
    """The same rows, parameters and seed give the same graph and the same curve."""
    again = boosted_trees(TOY, toy.train, toy.validation, TREES, 7)
    assert again.curve == toy.fitted.curve
    assert to_onnx(again.pipeline, TOY) == toy.graph


def test_the_simple_model_survives_conversion_too(toy):
    """Logistic regression with imputing, scaling and one-hot codes, on the columns it was given."""
    simple = logistic(TOY, toy.train, ("width", "letter"), 7)
    table = toy.test.with_columns(letter=pl.lit("unknown"))
    _, scores = run(to_onnx(simple.pipeline, TOY), TOY, table)
    expected = simple.pipeline.predict_proba(columns(table, TOY))
    assert np.abs(scores - expected).max() < 1e-5
    shifted = table.with_columns(pl.col("height") + 1)
    assert np.array_equal(simple.pipeline.predict_proba(columns(shifted, TOY)), expected)


def test_the_curve_is_the_loss_of_each_iteration_on_both_parts(toy):
    """Positive, falling, one value before the first tree, and the last is the loss of what ships."""
    curve = toy.fitted.curve
    assert len(curve.train) == len(curve.validation) == toy.fitted.pipeline["trees"].n_iter_ + 1
    assert curve.train[0] > curve.train[-1] > 0
    given = columns(toy.validation, TOY)
    scores = toy.fitted.pipeline.predict_proba(given)[np.arange(given.height), target(toy.validation)]
    assert curve.validation[-1] == pytest.approx(-np.log(scores).mean(), rel=1e-6)


def test_early_stopping_watches_the_validation_rows(toy):
    """Labels without rhyme or reason in the validation rows stop the trees early."""
    noise = toy.validation.with_columns(label=1 - pl.col("label"))
    stopped = boosted_trees(TOY, toy.train, noise, TREES, 7)
    assert len(stopped.curve.validation) < len(toy.fitted.curve.validation)
