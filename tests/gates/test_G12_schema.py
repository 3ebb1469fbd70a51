"""G12 bites when the graph is not what the contract says, or an input is one that is known only later."""

import msgspec
import numpy as np
import onnx
import polars as pl
import pytest

from contract.errors import FlightlineError
from contract.schema import Contract, Feature
from pipelines.evaluate import evaluate
from pipelines.gate import gate
from pipelines.package import package
from pipelines.train import train
from tests.conftest import toy_contract, toy_graph
from tests.gates.workshop import at_full_size
from training.gates.graph import FIRST, is_contract, unused_features
from training.gates.policy import Schema
from training.learning import boosted_trees
from training.model import ID
from training.models.flights import CONTRACT

TOY = toy_contract("toy")
ROWS = pl.DataFrame({"width": [1.0, 2.0, 3.0], "height": [0.5, -1.0, 2.0], "letter": ["A", "B", "A"]})


def verdict(graph: bytes, contract: Contract = TOY, rows: pl.DataFrame = ROWS, *forbidden: str):
    """The verdict on a toy graph."""
    return is_contract(graph, contract, rows, Schema(forbidden))


def with_feature(contract: Contract, *added: Feature) -> Contract:
    """The contract with features added at the end."""
    return msgspec.structs.replace(contract, features=(*contract.features, *added))


@pytest.mark.unit
def test_a_graph_of_its_contract_passes():
    """Inputs, outputs and influence are as declared."""
    assert verdict(toy_graph(TOY)).verdict == "pass"


@pytest.mark.unit
def test_a_graph_of_other_inputs_fails():
    """The reason shows both signatures."""
    found = verdict(toy_graph(toy_contract("toy", categories=False)))
    assert found.verdict == "fail"
    assert "the contract asks for" in found.reason


@pytest.mark.unit
def test_a_graph_of_other_outputs_fails():
    """A contract with two classes is not served by a graph with three scores."""
    two = msgspec.structs.replace(TOY, classes=("low", "high"))
    assert "'scores': ('tensor(float)', 3)" in verdict(toy_graph(TOY), two).reason


@pytest.mark.unit
def test_a_forbidden_name_fails():
    """The policy names what must never be an input."""
    found = verdict(toy_graph(TOY), TOY, ROWS, "height", "length")
    assert found.verdict == "fail"
    assert found.reason == "forbidden features: height"


@pytest.mark.unit
@pytest.mark.parametrize("name", ["width", "height", "letter"])
def test_a_feature_without_influence_fails(name):
    """One zero weight, and the feature it belongs to is named."""
    model = onnx.load_from_string(toy_graph(TOY))
    (weights,) = [item for item in model.graph.initializer if item.name == "weights"]
    values = onnx.numpy_helper.to_array(weights).copy()
    values[["width", "height", "letter"].index(name)] = 0
    weights.CopyFrom(onnx.numpy_helper.from_array(values, "weights"))
    found = verdict(model.SerializeToString())
    assert found.verdict == "fail"
    assert found.reason == f"declared but without any influence: {name}"


@pytest.mark.unit
@pytest.mark.parametrize("place", [0, 999, 995])
def test_a_feature_counts_as_used_wherever_its_influence_shows(place):
    """One row of a thousand has another height; the last one changes none of the rows looked at first."""
    rows = pl.concat([ROWS[:1]] * (2 * FIRST)).with_columns(
        pl.when(pl.int_range(pl.len()) == place).then(2.0).otherwise("height").alias("height"),
    )
    assert unused_features(toy_graph(TOY), TOY, rows) == ["width", "letter"]


def declare(patch_model, *added: Feature) -> None:
    """Declare the model with further features, and fit on all of them."""
    contract = with_feature(CONTRACT, *added)
    patch_model(
        contract=contract,
        fit=boosted_trees,
    )


def test_a_feature_that_the_graph_ignores_is_stopped(workshop, patch_model):
    """It never varied while training: collected, transmitted and guarded for nothing, or built wrongly."""
    declare(patch_model, Feature("spare", "number", "never varied in training"))
    for part in ("train", "validation"):
        workshop.replace_part(part, workshop.part(part).with_columns(pl.lit(1.0).alias("spare")))
    test = workshop.part("test")
    noise = np.random.default_rng(0).normal(size=test.height)
    workshop.replace_part("test", test.with_columns(pl.Series("spare", noise)))
    workshop.rebuild(train)
    assert workshop.failed() == {"G12"}
    assert workshop.verdicts()["G12"].reason == "declared but without any influence: spare"
    workshop.must_stop("G12")


def test_a_feature_that_is_known_only_later_is_stopped(workshop, patch_model):
    """The delay at departure makes the model look splendid, and does not exist an hour before."""
    declare(patch_model, Feature("dep_delay", "number", "known at departure", nullable=True))
    delay = pl.read_parquet(workshop.artifacts.checked / "departures.parquet").select(
        ID, pl.col("delay").cast(pl.Float64).alias("dep_delay")
    )
    for part in ("train", "validation", "test"):
        workshop.replace_part(part, workshop.part(part).join(delay, on=ID, how="left"))
    workshop.rebuild(train)
    # G03's upper bound says the same from the other side: too good to be true. Whoever knows the delay need
    # not learn what the weather does, so G13 may object as well.
    assert {"G03", "G12"} <= workshop.failed() <= {"G03", "G12", "G13"}
    assert workshop.verdicts()["G12"].reason == "forbidden features: dep_delay"
    workshop.must_stop("G12")


@at_full_size
def test_a_graph_that_does_not_say_its_width_is_stopped(workshop):
    """It answers like the right one; what it takes can no longer be checked before a request comes."""
    path = workshop.artifacts.model / "model.onnx"
    model = onnx.load(path)
    (numbers,) = [item for item in model.graph.input if item.name == "numbers"]
    numbers.type.tensor_type.shape.dim[1].dim_param = "any"
    onnx.save(model, path)
    workshop.rebuild(evaluate)
    assert workshop.failed() == {"G12"}
    workshop.must_stop("G12")


def test_a_graph_of_another_width_gets_no_further_than_evaluation(workshop, patch_model):
    """The contract grew and the graph did not: the run ends in a sentence and makes no bundle."""
    declare(patch_model, Feature("spare", "number", "the graph was made before"))
    rows = workshop.part("test").with_columns(pl.lit(1.0).alias("spare"))
    workshop.replace_part("test", rows)
    workshop.rebuild(gate, gate)
    assert "G12" in workshop.failed()
    assert "the contract asks for" in workshop.verdicts()["G12"].reason
    with pytest.raises(FlightlineError, match="the graph refuses the inputs of 'flights'"):
        workshop.rebuild(package)
    before = workshop.world()
    with pytest.raises(FlightlineError):
        workshop.qualify()
    with pytest.raises(FlightlineError):
        workshop.register()
    assert workshop.world() == before
