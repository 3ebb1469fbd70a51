"""G10 bites when a model answers as well as another and takes several times as long (S8)."""

import math

import numpy as np
import onnx
import polars as pl
import pytest

from contract.bundle import open_bundle
from contract.graphs import onnxruntime
from pipelines.delivery.timing import time_graph
from pipelines.evaluate import evaluate
from tests.conftest import LETTERS, make_release
from tests.gates.workshop import Workshop, at_full_size
from training.gates.policy import Speed
from training.gates.speed import BATCH_ROWS, WIDTH, Ratios, fast_enough, reference_graph, reference_rows

LIMITS = Speed(one_row=4.0, batch=8.0)
COPIES = 8  # a power of two, so that the shares of a weight add up to it exactly


@pytest.mark.unit
@pytest.mark.parametrize(
    ("one_row", "batch", "problem"),
    [
        (4.5, 1.0, "one row takes 4.5 times as long as the reference, over 4"),
        (1.0, 8.5, f"a batch of {BATCH_ROWS} rows takes 8.5 times as long as the reference, over 8"),
        (math.nan, 1.0, "one row takes nan"),
        (1.0, math.inf, "takes inf"),
        (0.0, 1.0, "one row takes 0 times"),
    ],
)
def test_each_way_to_be_too_slow_is_named(one_row, batch, problem):
    """One of the two is enough, and what was not measured is not fast."""
    found = fast_enough(Ratios(one_row, batch), LIMITS)
    assert found.verdict == "fail"
    assert problem in found.reason


@pytest.mark.unit
def test_exactly_at_the_limits_passes():
    """A limit is the last ratio that is allowed."""
    assert fast_enough(Ratios(4.0, 8.0), LIMITS).verdict == "pass"
    assert fast_enough(Ratios(math.nextafter(4.0, 5), 8.0), LIMITS).verdict == "fail"


@pytest.mark.unit
def test_the_reference_is_the_same_graph_everywhere_and_does_real_work():
    """Made by formula: no generator, no seed; its rows spread over many leaves."""
    assert reference_graph() == reference_graph()
    rows = reference_rows(BATCH_ROWS)
    assert (rows.shape, rows.dtype) == ((BATCH_ROWS, WIDTH), np.float32)
    session = onnxruntime().InferenceSession(reference_graph(), providers=["CPUExecutionProvider"])
    label, scores = session.run(None, {"numbers": rows})
    assert set(label) == {0, 1}
    assert len(np.unique(scores[:, 1])) > BATCH_ROWS // 2


def with_needless_trees(graph: onnx.ModelProto, copies: int) -> onnx.ModelProto:
    """The same answers from `copies` times as many trees, each with its share of the weight."""
    (trees,) = [node for node in graph.graph.node if node.op_type == "TreeEnsembleClassifier"]
    given = {item.name: onnx.helper.get_attribute_value(item) for item in trees.attribute}
    count = max(given["nodes_treeids"]) + 1
    for item in list(trees.attribute):
        values = given[item.name]
        if item.name in {"nodes_treeids", "class_treeids"}:
            values = [tree + number * count for number in range(copies) for tree in values]
        elif item.name == "class_weights":
            values = [weight / copies for weight in values] * copies
        elif item.name.startswith(("nodes_", "class_")):
            values = list(values) * copies
        else:
            continue
        trees.attribute.remove(item)
        trees.attribute.append(onnx.helper.make_attribute(item.name, values))
    return graph


def slow_down(workshop: Workshop) -> None:
    """Ship a graph of needlessly many trees."""
    path = workshop.artifacts.model / "model.onnx"
    onnx.save(with_needless_trees(onnx.load(path), COPIES), path)
    workshop.rebuild(evaluate)


@at_full_size
def test_a_model_of_needlessly_many_trees_is_stopped(workshop):
    """As good as the champion on every row and every slice, and far too slow: only G10 says no."""
    slow_down(workshop)
    assert workshop.failed() == set()
    workshop.must_stop("G10")
    note = workshop.qualification()
    assert [reason[:3] for reason in note.reasons] == ["G10"]
    assert "a batch of" in note.reasons[0]
    assert {item.code: item.verdict for item in note.verdicts}["G05"] == "pass"


def test_a_graph_of_one_matrix_is_faster_than_the_reference(tmp_path):
    """The measurement tells small from large, and takes fewer held-out rows than a batch."""
    made = make_release(tmp_path, model="toy")
    rows = pl.DataFrame({"width": [1.0, 2.0], "height": [0.5, None], "letter": LETTERS})
    found = time_graph(open_bundle(made.bundle), rows)
    assert 0 < found.batch < 1
    assert found.one_row > 0
