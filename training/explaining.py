"""How a graph comes to its answer for one row: steps, trees, and what each feature does to the score."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from contract.graphs import onnxruntime
from contract.schema import Contract
from training.export import feed_of, run

ENSEMBLES = ("TreeEnsembleClassifier", "TreeEnsembleRegressor")
COMPARE = {
    "BRANCH_LEQ": np.less_equal,
    "BRANCH_LT": np.less,
    "BRANCH_GTE": np.greater_equal,
    "BRANCH_GT": np.greater,
    "BRANCH_EQ": np.equal,
    "BRANCH_NEQ": np.not_equal,
}


@dataclass(frozen=True)
class Step:
    """One node of the graph and what it made of the row."""

    operator: str
    output: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Trees:
    """A tree ensemble on one row: `base` plus one leaf a tree is the raw score, then the transform.

    For two classes this is the log-odds of the last class, and its logistic function the probability.
    """

    base: float
    leaves: tuple[float, ...]  # in the order of the trees
    transform: str  # as ONNX names it: LOGISTIC, SOFTMAX, NONE
    raw: float  # base + sum of leaves, float64
    score: float  # after the transform


@dataclass(frozen=True)
class Effect:
    """What replacing one feature by a typical training value does to the score."""

    feature: str
    value: float | str | None
    typical: float | str | None
    change: float  # score with the typical value minus score as it is


def steps(graph: bytes, contract: Contract, row: pl.DataFrame) -> tuple[Step, ...]:
    """Every node of the graph, in order, with its output for the one `row`."""
    model, found = _opened(graph, contract, row)
    return tuple(
        Step(node.op_type, name, tuple(np.asarray(found[name]).reshape(-1).tolist()))
        for node in model.graph.node
        for name in node.output
    )


def trees(graph: bytes, contract: Contract, row: pl.DataFrame) -> Trees | None:
    """The contribution of each tree, walked node by node; None for a graph that is no single-score ensemble.

    Thresholds and leaves are float32, as the graph stores them; sums are float64.
    """
    model, found = _opened(graph, contract, row)
    node = next((node for node in model.graph.node if node.op_type in ENSEMBLES), None)
    if node is None:
        return None
    from onnx import helper

    facts = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    part = "class" if node.op_type == "TreeEnsembleClassifier" else "target"
    if len(set(facts[f"{part}_ids"])) != 1:  # several scores: the steps still tell what comes out
        return None
    inputs = np.asarray(found[node.input[0]]).reshape(-1)
    leaves: dict[int, float] = {}
    weights = dict(
        zip(
            zip(facts[f"{part}_treeids"], facts[f"{part}_nodeids"], strict=True),
            facts[f"{part}_weights"],
            strict=True,
        )
    )
    places = {
        key: index
        for index, key in enumerate(zip(facts["nodes_treeids"], facts["nodes_nodeids"], strict=True))
    }
    for tree in dict.fromkeys(facts["nodes_treeids"]):
        leaves[tree] = float(weights[tree, _leaf(facts, places, tree, inputs)])
    base = float(facts["base_values"][0]) if facts.get("base_values") else 0.0
    transform = facts.get("post_transform", b"NONE").decode()
    raw = base + sum(leaves.values())
    score = 1 / (1 + np.exp(-raw)) if transform == "LOGISTIC" else raw
    return Trees(base, tuple(leaves.values()), transform, raw, float(score))


def typical(reference: pl.DataFrame, contract: Contract) -> dict[str, float | str | None]:
    """The median of each number and the most frequent value of each category (the first of equals)."""
    found: dict[str, float | str | None] = {}
    for feature in contract.features:
        known = reference[feature.name].drop_nulls()
        if feature.kind == "number":
            median = known.cast(pl.Float64).drop_nans().median()
            found[feature.name] = float(median) if isinstance(median, int | float) else None
        else:
            found[feature.name] = known.mode().sort()[0] if known.len() else None
    return found


def occlusion(
    graph: bytes, contract: Contract, row: pl.DataFrame, replace: Mapping[str, Any], index: int
) -> tuple[Effect, ...]:
    """The change of score `index` when one feature at a time is replaced, the largest first.

    This is no Shapley value: features that say the same hide one another, and the changes do not sum up.
    """
    names = [feature.name for feature in contract.features]
    rows = pl.concat(
        [
            row.select(names),
            *(
                row.select(names).with_columns(pl.lit(replace[name], dtype=row.schema[name]).alias(name))
                for name in names
            ),
        ]
    )
    scores = run(graph, contract, rows)[1][:, index].astype(np.float64)
    values = row.row(0, named=True)
    effects = [
        Effect(name, values[name], replace[name], float(score - scores[0]))
        for name, score in zip(names, scores[1:], strict=True)
    ]
    return tuple(sorted(effects, key=lambda effect: -abs(effect.change)))


def _opened(graph: bytes, contract: Contract, row: pl.DataFrame) -> tuple[Any, dict[str, Any]]:
    """The graph, and the value of each of its tensors for `row`."""
    import onnx

    ort = onnxruntime()
    model = onnx.load_from_string(graph)
    known = {output.name for output in model.graph.output}
    names = [name for node in model.graph.node for name in node.output]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # each node stays itself
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feed = feed_of(contract, row)
    return model, {**feed, **dict(zip(names, session.run(names, feed), strict=True))}


def _leaf(facts: dict[str, Any], places: dict[tuple[int, int], int], tree: int, inputs: np.ndarray) -> int:
    """The id of the leaf of `tree` that the row falls into."""
    node = 0
    missing = facts.get("nodes_missing_value_tracks_true")
    while True:
        at = places[tree, node]
        mode = facts["nodes_modes"][at].decode()
        if mode == "LEAF":
            return int(node)
        value = np.float32(inputs[facts["nodes_featureids"][at]])
        if np.isnan(value):
            true = bool(missing[at]) if missing else False
        else:
            true = bool(COMPARE[mode](value, np.float32(facts["nodes_values"][at])))
        node = facts["nodes_truenodeids" if true else "nodes_falsenodeids"][at]
