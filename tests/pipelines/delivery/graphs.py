"""Toy graphs with a defect that neither loading nor staging can see."""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from contract.bundle import Golden
from tests.conftest import golden_rows, toy_contract, toy_graph

TALL = 50.0  # of the last golden row of a toy alone the height is above it
SIZE = 2000  # of two matrices: a product takes 75 ms on a fast core, and a policy allows 20 ms


def hasty(model: str, *, seed: int = 0) -> dict[str, Any]:
    """A version that gives NaN for tall rows, of which its golden rows hold none."""
    graph = onnx.load_from_string(toy_graph(toy_contract(model), seed))
    _rename(graph, "scores", "sound")
    graph.graph.initializer.extend(
        [
            numpy_helper.from_array(np.array([1], dtype=np.int64), "second"),
            numpy_helper.from_array(np.float32(TALL), "tall"),
            numpy_helper.from_array(np.float32("nan"), "nan"),
        ]
    )
    graph.graph.node.extend(
        [
            helper.make_node("Gather", ["filled", "second"], ["height"], axis=1),
            helper.make_node("Greater", ["height", "tall"], ["is_tall"]),
            helper.make_node("Where", ["is_tall", "nan", "sound"], ["scores"]),
        ]
    )
    return _made(model, graph, rows=3)


def heavy(model: str, *, seed: int = 0) -> dict[str, Any]:
    """A version that multiplies two large matrices for tall rows, of which its golden rows hold none."""
    graph = onnx.load_from_string(toy_graph(toy_contract(model), seed))
    _rename(graph, "scores", "sound")
    graph.graph.initializer.extend(
        [
            numpy_helper.from_array(np.array([1], dtype=np.int64), "second"),
            numpy_helper.from_array(np.float32(TALL), "tall"),
            numpy_helper.from_array(np.array([SIZE, SIZE], dtype=np.int64), "shape"),
        ]
    )
    rest = helper.make_tensor_value_info("rest", TensorProto.FLOAT, [])
    toil = helper.make_graph(
        [
            helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
            # Of the input, or the optimizer would compute it once and for all.
            helper.make_node("Sub", ["any_tall", "any_tall"], ["none"]),
            helper.make_node("Add", ["zeros", "none"], ["matrix"]),
            helper.make_node("MatMul", ["matrix", "matrix"], ["product"]),
            helper.make_node("ReduceSum", ["product"], ["rest"], keepdims=0),
        ],
        "toil",
        [],
        [rest],
    )
    nothing = helper.make_node("Constant", [], ["rest"], value=numpy_helper.from_array(np.float32(0)))
    graph.graph.node.extend(
        [
            helper.make_node("Gather", ["filled", "second"], ["height"], axis=1),
            helper.make_node("Greater", ["height", "tall"], ["is_tall"]),
            helper.make_node("Cast", ["is_tall"], ["tallness"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMax", ["tallness"], ["any_tall"], keepdims=0),
            helper.make_node("Cast", ["any_tall"], ["toils"], to=TensorProto.BOOL),
            helper.make_node(
                "If",
                ["toils"],
                ["more"],
                then_branch=toil,
                else_branch=helper.make_graph([nothing], "nothing", [], [rest]),
            ),
            helper.make_node("Add", ["sound", "more"], ["scores"]),
        ]
    )
    return _made(model, graph, rows=3)


def alike(model: str, *, step: float = 0.001) -> dict[str, Any]:
    """Another version of seed 0 that labels every row alike: its logits are a little larger."""
    graph = onnx.load_from_string(toy_graph(toy_contract(model), 0))
    (weights,) = [item for item in graph.graph.initializer if item.name == "weights"]
    scaled = (numpy_helper.to_array(weights) * np.float32(1 + step)).astype(np.float32)
    weights.CopyFrom(numpy_helper.from_array(scaled, "weights"))
    return _made(model, graph, rows=4)


def _rename(graph: onnx.ModelProto, old: str, new: str) -> None:
    """Have whatever reads or writes the value `old` inside the graph call it `new`."""
    for node in graph.graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == old:
                    names[place] = new


def _made(model: str, graph: onnx.ModelProto, rows: int) -> dict[str, Any]:
    """What `make_release` takes: the graph, and the first golden `rows` as it answers them."""
    assert all(item.type.tensor_type.elem_type != TensorProto.UNDEFINED for item in graph.graph.output)
    data = graph.SerializeToString()
    golden = Golden(tolerance=1e-5, rows=golden_rows(toy_contract(model), data)[:rows])
    return {"graph": data, "golden": golden, "seed": 1}
