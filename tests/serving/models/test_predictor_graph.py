"""A graph with another interface than its contract, or other bytes than were verified, is not served (R3)."""

import msgspec
import numpy as np
import onnx
import pytest

from tests.serving.models.loading import load, refused, regraph

pytestmark = pytest.mark.unit


def test_bytes_that_are_no_graph_are_refused(make_bundle) -> None:
    """The runtime's own refusal becomes a sentence."""
    golden = load(make_bundle()).bundle.golden
    refused(make_bundle(graph=b"not a graph", golden=golden), "cannot load the graph")


def _rename_output(graph):
    for node in graph.node:
        node.input[:] = ["points" if name == "scores" else name for name in node.input]
        node.output[:] = ["points" if name == "scores" else name for name in node.output]
    for output in graph.output:
        output.name = output.name.replace("scores", "points")


def _double_input(graph):
    graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    graph.node.insert(0, onnx.helper.make_node("Cast", ["numbers"], ["single"], to=onnx.TensorProto.FLOAT))
    for node in list(graph.node)[1:]:
        node.input[:] = ["single" if name == "numbers" else name for name in node.input]


def _int32_label(graph):
    for output in graph.output:
        if output.name == "label":
            output.type.tensor_type.elem_type = onnx.TensorProto.INT32
    for node in graph.node:
        if node.output[0] == "label":
            node.attribute[0].i = onnx.TensorProto.INT32


def _fewer_scores(graph):
    for output in graph.output:
        if output.name == "scores":
            output.type.tensor_type.shape.dim[1].dim_value = 2
    graph.initializer.append(onnx.numpy_helper.from_array(np.array([0, 1]), "two"))
    for node in graph.node:
        node.output[:] = ["soft" if name == "scores" else name for name in node.output]
        node.input[:] = ["soft" if name == "scores" else name for name in node.input]
    graph.node.append(onnx.helper.make_node("Gather", ["soft", "two"], ["scores"], axis=1))


def _flat_numbers(graph):
    del graph.input[0].type.tensor_type.shape.dim[1:]
    graph.initializer.append(onnx.numpy_helper.from_array(np.array([1]), "one"))
    for node in graph.node:
        node.input[:] = ["column" if name == "numbers" else name for name in node.input]
    graph.node.insert(0, onnx.helper.make_node("Unsqueeze", ["numbers", "one"], ["column"]))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        pytest.param(
            _rename_output, r"outputs \['label', 'points'\]; expected \['label', 'scores'\]", id="output-name"
        ),
        pytest.param(
            _double_input, r"input numbers of tensor\(double\); expected tensor\(float\)", id="input-type"
        ),
        pytest.param(
            _int32_label, r"output label of tensor\(int32\); expected tensor\(int64\)", id="label-type"
        ),
        pytest.param(_fewer_scores, r"output scores of shape .*2\]; expected \(rows, 3\)", id="scores-width"),
    ],
)
def test_another_interface_than_the_contract_is_refused(make_bundle, change, sentence) -> None:
    """Names, types, ranks and widths of the graph equal the contract's."""
    base = make_bundle()
    golden = load(base).bundle.golden
    refused(make_bundle(graph=regraph(base, change), golden=golden), sentence)


def test_another_input_width_is_refused(make_bundle) -> None:
    """A graph with a column more than the contract has features is not served."""
    base = make_bundle()
    narrow = msgspec.structs.replace(base.contract, features=base.contract.features[::2])
    graph = (base.bundle / "model.onnx").read_bytes()
    release = make_bundle(contract=narrow, graph=graph, golden=load(base).bundle.golden)
    refused(release, r"input numbers of shape .*2\]; expected \(rows, 1\)")


def test_another_input_rank_is_refused(make_bundle) -> None:
    """A graph that takes a flat list of numbers is not served."""
    toy = make_bundle().contract
    base = make_bundle(contract=msgspec.structs.replace(toy, features=toy.features[:1]))
    release = make_bundle(
        contract=base.contract, graph=regraph(base, _flat_numbers), golden=load(base).bundle.golden
    )
    refused(release, r"input numbers of shape \[.*\]; expected \(rows, 1\)")


def test_a_graph_that_is_exchanged_after_it_was_verified_is_not_loaded(make_bundle, monkeypatch) -> None:
    """Between opening the bundle and starting the graph nobody can slip in another one."""
    release, other = make_bundle(seed=1), make_bundle(seed=2)

    def exchange(_):
        (release.bundle / "model.onnx").write_bytes((other.bundle / "model.onnx").read_bytes())
        return {}

    monkeypatch.setattr("serving.models.predictor._compare_libraries", exchange)
    refused(release, r"has a changed model\.onnx")
