"""The whole scikit-learn pipeline as one ONNX graph, and its answers.

The graph: `numbers` float32 (rows, numbers), `categories` string (rows, categories) -> `label` int64
(rows,), `scores` float32 (rows, classes).
"""

import copy
import warnings
from typing import Any

import numpy as np
import polars as pl

from contract.errors import FlightlineError
from contract.graphs import onnxruntime
from contract.schema import Contract
from training.model import columns

OPSET = {"": 21, "ai.onnx.ml": 3}


def to_onnx(pipeline: Any, contract: Contract) -> bytes:
    """Convert a fitted pipeline over the contract's columns.

    Raises:
        FlightlineError: the pipeline holds a learner that the converter gets silently wrong.
    """
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    _refuse_wrong_conversions(pipeline)
    inputs = [("numbers", FloatTensorType([None, len(contract.numbers)]))]
    if contract.categories:
        inputs.append(("categories", StringTensorType([None, len(contract.categories)])))
    exact = floor_thresholds(pipeline)
    with warnings.catch_warnings():
        # The converter reads an attribute of SVC that scikit-learn will remove in 1.11.
        warnings.simplefilter("ignore", FutureWarning)
        # It hands booleans to protobuf where integers are due, which protobuf 7 refuses: hence the pin.
        warnings.simplefilter("ignore", DeprecationWarning)
        graph = convert_sklearn(
            exact,
            name=contract.model,
            initial_types=inputs,
            target_opset=OPSET,
            options={id(exact): {"zipmap": False}},
        )
    _rename_outputs(graph.graph, ("label", "scores"))
    _sort_opsets(graph)
    return bytes(graph.SerializeToString())


def floor_thresholds(pipeline: Any) -> Any:
    """A copy of `pipeline` whose tree thresholds are the largest float32 not above the fitted ones.

    For a float32 input x, `x <= t` and `x <= floor32(t)` are the same; ONNX stores float32 and would
    round to the nearest, which moves rows that lie one float32 step from a threshold to the other side.
    """
    exact = copy.deepcopy(pipeline)
    for step in _steps(exact):
        for predictors in getattr(step, "_predictors", ()):
            for predictor in predictors:
                nodes = predictor.nodes
                nodes["num_threshold"] = _floor32(nodes["num_threshold"])
    return exact


def run(graph: bytes, contract: Contract, frame: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The graph's `label` int64 (rows,) and `scores` float32 (rows, classes) for the rows of `frame`.

    Raises:
        FlightlineError: the graph does not take the contract's inputs.
    """
    ort = onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1  # the same sums in the same order on every machine
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    try:
        label, scores = session.run(["label", "scores"], feed_of(contract, frame))
    except ort.capi.onnxruntime_pybind11_state.InvalidArgument as error:
        raise FlightlineError(
            f"the graph refuses the inputs of '{contract.model}' ({' '.join(str(error).split())[:200]})",
            f"a graph of {len(contract.numbers)} numbers and {len(contract.categories)} categories",
            "Train it again with this contract",
        ) from None
    return label, scores


def feed_of(contract: Contract, frame: pl.DataFrame) -> dict[str, np.ndarray]:
    """The graph's inputs: `numbers` float32 (rows, numbers), `categories` strings (rows, categories)."""
    values = columns(frame, contract)
    width = len(contract.numbers)
    feed = {"numbers": np.ascontiguousarray(values[:, :width].to_numpy().astype(np.float32))}
    if contract.categories:
        feed["categories"] = values[:, width:].to_numpy().astype(object)
    return feed


def _floor32(values: np.ndarray) -> np.ndarray:
    nearest = values.astype(np.float32)
    below = np.nextafter(nearest, np.float32(-np.inf))
    return np.where(nearest.astype(np.float64) > values, below, nearest).astype(np.float64)


def _steps(pipeline: Any) -> list[Any]:
    return [step for _, step in pipeline.steps] if hasattr(pipeline, "steps") else [pipeline]


def _refuse_wrong_conversions(pipeline: Any) -> None:
    for step in _steps(pipeline):
        if getattr(step, "is_categorical_", None) is not None:
            raise FlightlineError(
                "boosted trees with native categorical splits, which convert without an error and wrongly",
                "categories encoded before the trees",
                "Use OrdinalEncoder or TargetEncoder in front of the trees",
            )


def _sort_opsets(graph: Any) -> None:
    """The converter lists them in the order of a set of strings, which differs from process to process."""
    imports = sorted(graph.opset_import, key=lambda item: str(item.domain))
    del graph.opset_import[:]
    graph.opset_import.extend(imports)


def _rename_outputs(graph: Any, names: tuple[str, ...]) -> None:
    renamed = dict(zip([output.name for output in graph.output], names, strict=True))
    for output in graph.output:
        output.name = renamed[output.name]
    for node in graph.node:
        node.output[:] = [renamed.get(name, name) for name in node.output]
        node.input[:] = [renamed.get(name, name) for name in node.input]
