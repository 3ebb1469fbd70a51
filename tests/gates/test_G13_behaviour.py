"""G13 bites when changed inputs are answered without sense: a direction reversed, an invariance broken."""

import numpy as np
import onnx
import polars as pl
import pytest
from onnx import helper

from pipelines.evaluate import evaluate
from pipelines.train import train
from tests.conftest import toy_contract, toy_graph
from tests.gates.workshop import at_full_size
from training import model as models
from training.gates.behaviour import behaves, neighbours_matter
from training.gates.policy import Behaves
from training.model import LABEL, Behaviour

TOY = toy_contract("toy")
GRAPH = toy_graph(TOY)
LIMITS = Behaves(rounding=1e-6, tolerance=0.02, min_share=0.9, min_rows=10)
RANDOM = np.random.default_rng(0)
ROWS = pl.DataFrame(
    {
        "width": RANDOM.uniform(0, 1, 40),
        "height": RANDOM.uniform(-1, 1, 40),
        "letter": ["A", "B"] * 20,
    }
)
# Of the graph's weights for the last class minus the others', those of width and letter are what this says.
WIDER = (pl.col("width") + 1.0,)


def behaviour(expected, change=WIDER, **more) -> Behaviour:
    """A declared behaviour."""
    return Behaviour("wider", "a reason", change, expected, **more)


def verdict(*behaviours: Behaviour, graph: bytes = GRAPH, rows: pl.DataFrame = ROWS, limits=LIMITS):
    """The verdict on a toy graph."""
    return behaves(graph, TOY, rows, behaviours, limits)


def falling() -> bool:
    """Whether more width lowers the last class's score in the toy graph."""
    return verdict(behaviour("not higher")).verdict == "pass"


@pytest.mark.unit
def test_a_direction_holds_one_way_only():
    """What does not fall where it rises is told apart from what does not rise."""
    found = {expected: verdict(behaviour(expected)).verdict for expected in ("not lower", "not higher")}
    assert sorted(found.values()) == ["fail", "pass"]


@pytest.mark.unit
@pytest.mark.parametrize("expected", ["identical", "similar"])
def test_an_invariance_that_is_broken_fails(expected):
    """A whole unit more moves the scores of this graph."""
    found = verdict(behaviour(expected))
    assert found.verdict == "fail"
    assert f"'wider' ({expected})" in found.reason


@pytest.mark.unit
def test_similar_is_judged_by_its_tolerance_and_identical_by_rounding():
    """A step of a thousandth is similar and not identical."""
    step = (pl.col("width") + 0.001,)
    assert verdict(behaviour("similar", step)).verdict == "pass"
    assert verdict(behaviour("identical", step)).verdict == "fail"


@pytest.mark.unit
def test_what_stands_for_the_same_is_compared_with_each_other():
    """Neither letter is known to the graph, so they are answered alike; A is not."""
    unknown, missing, known = ((pl.lit(value, pl.String).alias("letter"),) for value in ("?", None, "A"))
    assert verdict(behaviour("identical", unknown, instead_of=missing)).verdict == "pass"
    assert verdict(behaviour("identical", known, instead_of=missing)).verdict == "fail"


@pytest.mark.unit
@pytest.mark.parametrize(
    ("change", "more"),
    [
        ((pl.col("width") + 0.0,), {}),
        ((pl.lit(1.0).alias("length"),), {}),
        ((pl.lit(None, pl.Float64).alias("height"),), {"rows": pl.col("width") > 5}),
        ((pl.col("width") + 1e-12,), {}),
    ],
    ids=["nothing", "no input", "no rows", "less than a float32 holds"],
)
def test_a_change_that_changes_no_input_shows_nothing(change, more):
    """A behaviour that cannot fail is not shown."""
    found = verdict(behaviour("identical", change, **more))
    assert found.verdict == "fail"
    assert "only 0 rows can be changed so, policy.yaml asks for 10" in found.reason


@pytest.mark.unit
def test_a_missing_value_that_stays_missing_is_no_row_of_evidence():
    """Adding to null gives null."""
    rows = ROWS.with_columns(pl.when(pl.int_range(pl.len()) < 35).then("width").alias("width"))
    step = (pl.col("width") + 0.001,)
    assert verdict(behaviour("similar", step), rows=rows).verdict == "pass"
    few = rows.with_columns(pl.when(pl.int_range(pl.len()) < 9).then("width").alias("width"))
    assert "only 9 rows" in verdict(behaviour("similar", step), rows=few).reason


@pytest.mark.unit
@pytest.mark.parametrize(
    "wrong",
    [
        behaviour("similar", (pl.col("length") + 1,)),
        behaviour("similar", rows=pl.col("length") > 0),
        behaviour("similar", instead_of=(pl.col("length") * 2,)),
    ],
)
def test_a_behaviour_about_a_column_that_is_gone_fails(wrong):
    """A feature that was renamed must not take its behaviour with it unseen."""
    found = verdict(wrong)
    assert found.verdict == "fail"
    assert "it needs length, which the rows do not have" in found.reason


@pytest.mark.unit
@pytest.mark.parametrize(("turned", "outcome"), [(4, "pass"), (5, "fail")])
def test_a_tenth_of_the_rows_may_step_the_wrong_way(turned, outcome):
    """Four of forty are a tenth, five are more."""
    good = "not higher" if falling() else "not lower"
    step = pl.when(pl.int_range(pl.len()) < turned).then(-1.0).otherwise(1.0)
    found = verdict(behaviour(good, (pl.col("width") + step,)))
    assert found.verdict == outcome
    assert outcome == "pass" or "holds for 0.875 of 40 rows, under 0.9" in found.reason


@pytest.mark.unit
def test_a_direction_is_asked_of_the_mean_as_well():
    """Every single row is within tolerance, and all of them go the wrong way."""
    good = "not higher" if falling() else "not lower"
    found = verdict(behaviour(good, (pl.col("width") - 0.001,)))
    assert found.verdict == "fail"
    assert "the mean score moved by" in found.reason


@pytest.mark.unit
def test_a_score_that_is_not_a_number_fails():
    """NaN is neither lower nor higher nor similar."""
    broken = onnx.load_from_string(GRAPH)
    for node in broken.graph.node:
        node.output[:] = ["finite" if name == "scores" else name for name in node.output]
        node.input[:] = ["finite" if name == "scores" else name for name in node.input]
    broken.graph.node.append(helper.make_node("Log", ["finite"], ["logs"]))
    broken.graph.node.append(helper.make_node("Sqrt", ["logs"], ["scores"]))
    found = verdict(behaviour("similar"), graph=broken.SerializeToString())
    assert found.verdict == "fail"
    assert "a score is NaN or infinite" in found.reason


def leaning_on_neighbours(graph: bytes) -> bytes:
    """The graph with each number taken relative to the mean of its batch, as a careless scaler does."""
    model = onnx.load_from_string(graph)
    for node in model.graph.node:
        node.input[:] = ["centred" if name == "numbers" else name for name in node.input]
    whole = [
        helper.make_node("IsNaN", ["numbers"], ["batch_absent"]),
        helper.make_node("Constant", [], ["batch_zero"], value_float=0.0),
        helper.make_node("Where", ["batch_absent", "batch_zero", "numbers"], ["batch_filled"]),
        helper.make_node("Constant", [], ["batch_axes"], value_ints=[0]),
        helper.make_node("ReduceMean", ["batch_filled"], ["batch_mean"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["numbers", "batch_mean"], ["centred"]),
    ]
    if next(item.version for item in model.opset_import if item.domain == "") >= 18:  # axes became an input
        whole[4] = helper.make_node("ReduceMean", ["batch_filled", "batch_axes"], ["batch_mean"], keepdims=1)
    else:
        del whole[3]
    nodes = [*whole, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model.SerializeToString()


@pytest.mark.unit
def test_a_row_that_is_answered_by_its_neighbours_fails():
    """Whoever asks with one row gets another answer than in a batch; without any behaviour declared, too."""
    assert neighbours_matter(GRAPH, TOY, ROWS) <= 1e-6
    found = verdict(graph=leaning_on_neighbours(GRAPH))
    assert found.verdict == "fail"
    assert "a row alone, or in another order, is answered" in found.reason


@pytest.mark.unit
def test_no_declared_behaviour_is_not_judged_and_no_rows_fail():
    """Nothing declared is neither pass nor fail; nothing held out is a failure."""
    assert verdict().verdict == "not applicable"
    assert verdict(behaviour("similar"), rows=ROWS.clear()).verdict == "fail"


@pytest.mark.unit
def test_a_graph_of_other_inputs_is_not_asked():
    """G12 says what differs; here it is a failure and no error in the middle of a stage."""
    found = verdict(behaviour("similar"), graph=toy_graph(toy_contract("toy", categories=False)))
    assert (found.verdict, found.value) == ("fail", "")


@pytest.mark.unit
@pytest.mark.parametrize("name", models.names())
def test_every_model_says_why_it_expects_what_it_declares(name):
    """Names are told apart in a verdict; a reason is what a reader argues with; only inputs are changed."""
    model = models.load(name)
    inputs = {feature.name for feature in model.contract.features}
    assert model.behaviours
    assert len({item.name for item in model.behaviours}) == len(model.behaviours)
    for item in model.behaviours:
        assert item.reason
        assert {change.meta.output_name() for change in (*item.change, *item.instead_of)} <= inputs


@at_full_size
def test_a_model_that_takes_delay_for_punctuality_is_stopped(workshop):
    """The sign of two delays was lost where the training rows were made, and only there."""
    turned = [-pl.col(name) for name in ("origin_delay_2h", "carrier_origin_delay_3h")]
    for part in ("train", "validation"):
        workshop.replace_part(part, workshop.part(part).with_columns(*turned))
    workshop.change("params.yaml", "train.max_iter", 40)
    workshop.rebuild(train)
    assert "'an hour more of delay' (not lower)" in workshop.verdicts()["G13"].reason
    workshop.must_stop("G13")


def test_a_model_that_reads_the_last_digit_of_the_timetable_is_stopped(workshop):
    """Labels of flights on the full hour were lost to a join and filled with late."""
    full_hour = pl.col("departure_minute") % 60 < 5
    for part in ("train", "validation"):
        rows = workshop.part(part)
        spoilt = pl.when(full_hour).then(pl.lit(1, rows.schema[LABEL])).otherwise(LABEL).alias(LABEL)
        workshop.replace_part(part, rows.with_columns(spoilt))
    workshop.change("params.yaml", "train.max_iter", 40)
    workshop.rebuild(train)
    assert "'five minutes later in the timetable' (similar)" in workshop.verdicts()["G13"].reason
    workshop.must_stop("G13")


def test_a_model_to_which_missing_means_something_is_stopped(workshop, monkeypatch):
    """Destinations of late flights alone were lost, and what was never seen is coded as the last airport."""
    monkeypatch.setattr("training.learning.UNKNOWN", 999)
    rows = workshop.part("train")
    lost = (pl.col(LABEL) == 1) & (pl.int_range(pl.len()) % 2 == 0)
    emptied = pl.when(lost).then(pl.lit("")).otherwise("dest").alias("dest")
    workshop.replace_part("train", rows.with_columns(emptied))
    workshop.change("params.yaml", "train.max_iter", 30)
    workshop.rebuild(train)
    assert "'a destination never seen' (identical)" in workshop.verdicts()["G13"].reason
    workshop.must_stop("G13")


def test_a_graph_that_centres_each_batch_is_stopped(workshop):
    """It would answer one request differently than the evaluation's table."""
    path = workshop.artifacts.model / "model.onnx"
    path.write_bytes(leaning_on_neighbours(path.read_bytes()))
    workshop.rebuild(evaluate)
    assert {"G09", "G13"} <= workshop.failed()
    assert "a row alone, or in another order" in workshop.verdicts()["G13"].reason
    workshop.must_stop("G13")
