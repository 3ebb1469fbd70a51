"""G11 bites when a model is as good as another and much larger, on disk or in memory (S8)."""

import dataclasses
import math

import msgspec
import numpy as np
import onnx
import polars as pl
import pytest

from contract.bundle import open_bundle, seal
from contract.errors import FlightlineError
from pipelines.building.artifacts import write_json, write_table
from pipelines.delivery.footprint import measure
from pipelines.evaluate import evaluate
from tests.gates.workshop import Workshop, at_full_size
from training.gates.policy import Size
from training.gates.size import MIB, Footprint, small_enough
from training.models.flights import CONTRACT

LIMITS = Size(bundle_mib=2, memory_mib=8)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("bundle", "memory", "problem"),
    [
        (3.0, 1.0, "the bundle has 3 MiB, over 2"),
        (1.0, 9.0, "a server takes 9 MiB to hold it, over 8"),
        (1.0, math.inf, "a server takes inf MiB"),
        (1.0, math.nan, "a server does not load it: a golden row differs"),
    ],
)
def test_each_way_to_be_too_large_is_named(bundle, memory, problem):
    """One of the two is enough; a bundle that no server loads has no size that would do."""
    found = small_enough(Footprint(int(bundle * MIB), memory * MIB, "a golden row differs"), LIMITS)
    assert found.verdict == "fail"
    assert problem in found.reason


@pytest.mark.unit
def test_exactly_at_the_limits_passes():
    """A limit is the last size that is allowed."""
    assert small_enough(Footprint(2 * MIB, 8.0 * MIB), LIMITS).verdict == "pass"
    assert small_enough(Footprint(2 * MIB + 1, 8.0 * MIB), LIMITS).verdict == "fail"
    assert small_enough(Footprint(2 * MIB, 8.0 * MIB + 1), LIMITS).verdict == "fail"


@pytest.mark.unit
def test_without_a_serving_environment_nothing_is_guessed(uncrowned_settings, tmp_path, make_bundle):
    """The refusal names the remedy; no verdict is made up."""
    lacking = dataclasses.replace(uncrowned_settings, serving_python=tmp_path / "nowhere")
    with pytest.raises(FlightlineError, match=r"there is no serving environment .*Run: make setup"):
        measure(open_bundle(make_bundle().bundle), lacking)


@pytest.mark.parametrize("program", ["exit 3", "echo nonsense", "echo '{}'"])
@pytest.mark.unit
def test_an_answer_that_cannot_be_read_is_no_measurement(uncrowned_settings, tmp_path, make_bundle, program):
    """A serving environment that is broken says so, instead of passing."""
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{program}\n")
    python.chmod(0o755)
    broken = dataclasses.replace(uncrowned_settings, serving_python=python)
    with pytest.raises(FlightlineError, match=r"could not be measured .*Run: make setup"):
        measure(open_bundle(make_bundle().bundle), broken)
    assert list(broken.var.iterdir()) == []


def edit_graph(workshop: Workshop, change) -> None:
    """Ship another graph with the same answers."""
    path = workshop.artifacts.model / "model.onnx"
    model = onnx.load(path)
    change(model.graph)
    onnx.save(model, path)
    workshop.rebuild(evaluate)


def bloat(graph: onnx.GraphProto) -> None:
    """Twelve MiB of weights that nothing uses."""
    ballast = np.random.default_rng(0).random(12 * MIB // 4, dtype=np.float32)
    graph.initializer.append(onnx.numpy_helper.from_array(ballast, "ballast"))


def make_hungry(graph: onnx.GraphProto) -> None:
    """A few bytes more, and 80 MiB of scratch memory for each request."""
    (trees,) = [node for node in graph.node if node.op_type == "TreeEnsembleClassifier"]
    trees.output[1] = "plain"
    first = [("zero", 0), ("one", 1)]
    graph.initializer.extend(onnx.numpy_helper.from_array(np.array([v]), name) for name, v in first)
    size = np.array([80 * MIB // 4], dtype=np.int64)
    graph.initializer.append(onnx.numpy_helper.from_array(size, "size"))
    graph.initializer.append(onnx.numpy_helper.from_array(np.float32(0), "nothing"))
    make = onnx.helper.make_node
    graph.node.extend(
        [
            make("Slice", ["plain", "zero", "one"], ["first"]),
            make("ReduceMax", ["first"], ["number"], keepdims=0),
            make("Expand", ["number", "size"], ["large"]),
            make("ReduceMax", ["large"], ["largest"], keepdims=0),
            make("Mul", ["largest", "nothing"], ["none"]),
            make("Add", ["plain", "none"], ["scores"]),
        ]
    )


@at_full_size
@pytest.mark.parametrize(
    ("change", "word"), [(bloat, "the bundle has 13."), (make_hungry, "MiB to hold it, over 64")]
)
def test_a_graph_that_is_too_large_or_too_hungry_is_stopped(workshop, change, word):
    """Every answer is the champion's: only G11 says no."""
    edit_graph(workshop, change)
    assert workshop.failed() == set()
    workshop.must_stop("G11")
    (reason,) = [reason for reason in workshop.qualification().reasons if reason.startswith("G11")]
    assert word in reason


def test_a_reference_of_the_whole_year_is_stopped(workshop):
    """What monitoring compares with travels in the bundle, too."""
    path = workshop.artifacts.bundle / "reference.parquet"
    noise = np.random.default_rng(0).random(2 * MIB)
    write_table(
        path, pl.read_parquet(path).sample(2 * MIB, with_replacement=True, seed=0).with_columns(noise=noise)
    )
    seal(workshop.artifacts.bundle, CONTRACT)
    workshop.must_stop("G11")
    assert [reason[:3] for reason in workshop.qualification().reasons] == ["G11"]


def test_a_bundle_that_no_server_loads_is_stopped(workshop):
    """Serving's own loader is asked: a golden answer that the graph does not give."""
    golden = workshop.bundle.golden
    first = msgspec.structs.replace(golden.rows[0], scores=(0.5, 0.5))
    other = msgspec.structs.replace(golden, rows=(first, *golden.rows[1:]))
    write_json(workshop.artifacts.bundle / "golden.json", other)
    seal(workshop.artifacts.bundle, CONTRACT)
    workshop.must_stop("G11")
    assert "a server does not load it" in workshop.qualification().reasons[0]
