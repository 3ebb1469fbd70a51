"""G10: is the graph fast enough, as a ratio to a graph that never changes?"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.gates.policy import Speed
from training.gates.verdict import Verdict, judge, number

TREES, DEPTH, WIDTH = 100, 5, 16  # of the reference: about a boosted model of moderate size
BATCH_ROWS = 1024


@dataclass(frozen=True)
class Ratios:
    """Time of the graph over the time of the reference graph, measured in turns in one process."""

    one_row: float  # a request of a single row
    batch: float  # a request of `BATCH_ROWS` rows


def fast_enough(found: Ratios, limits: Speed) -> Verdict:
    """Both ratios are within their limits. NaN and a time of nothing are within none."""
    problems = []
    for name, ratio, limit in (
        ("one row", found.one_row, limits.one_row),
        (f"a batch of {BATCH_ROWS} rows", found.batch, limits.batch),
    ):
        if not 0 < ratio <= limit:
            problems.append(f"{name} takes {number(ratio)} times as long as the reference, over {limit}")
    return judge(
        "G10",
        f"one row {number(found.one_row)}, batch {number(found.batch)} of the reference",
        f"one row <= {limits.one_row}, batch <= {limits.batch}",
        problems,
        "one row and a batch are answered within their share of the reference graph's time",
    )


def reference_graph() -> bytes:
    """A boosted classifier made by formula: `TREES` full binary trees of depth `DEPTH` over `WIDTH` numbers.

    Trees cost what trees cost: branches and scattered reads, on every machine in about the same proportion,
    which a matrix product with its vector instructions would not be.
    """
    from onnx import TensorProto, helper

    inner, nodes = 2**DEPTH - 1, 2 ** (DEPTH + 1) - 1
    index = np.arange(nodes)
    is_leaf = index >= inner
    tree, node = np.repeat(np.arange(TREES), nodes), np.tile(index, TREES)
    leaf = np.tile(is_leaf, TREES)
    # Multiples of the golden ratio, modulo one: spread evenly, without a random generator's version.
    spread = np.modf((tree * nodes + node + 1) * (math.sqrt(5) - 1) / 2)[0]
    attributes: dict[str, Any] = {
        "nodes_treeids": tree.tolist(),
        "nodes_nodeids": node.tolist(),
        "nodes_featureids": np.where(leaf, 0, (tree * 7 + node * 3) % WIDTH).tolist(),
        "nodes_modes": np.where(leaf, "LEAF", "BRANCH_LEQ").tolist(),
        "nodes_values": np.where(leaf, 0.0, spread).tolist(),
        "nodes_truenodeids": np.where(leaf, 0, 2 * node + 1).tolist(),
        "nodes_falsenodeids": np.where(leaf, 0, 2 * node + 2).tolist(),
        "nodes_missing_value_tracks_true": np.zeros(len(node), dtype=int).tolist(),
        "class_treeids": tree[leaf].tolist(),
        "class_nodeids": node[leaf].tolist(),
        "class_ids": np.zeros(leaf.sum(), dtype=int).tolist(),
        "class_weights": (spread[leaf] - 0.5).tolist(),
        "classlabels_int64s": [0, 1],
        "post_transform": "LOGISTIC",
    }
    trees = helper.make_node(
        "TreeEnsembleClassifier", ["numbers"], ["label", "scores"], domain="ai.onnx.ml", **attributes
    )
    graph = helper.make_graph(
        [trees],
        "reference",
        [helper.make_tensor_value_info("numbers", TensorProto.FLOAT, [None, WIDTH])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, 2]),
        ],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())


def reference_rows(rows: int) -> np.ndarray:
    """Inputs of the reference graph, float32 (rows, `WIDTH`), spread evenly over 0 to 1.

    A Kronecker sequence: multiples of the square roots of the first primes, modulo one.
    """
    steps = np.sqrt(np.array([2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53], dtype=np.float64))
    return np.modf(np.arange(1, rows + 1)[:, None] * steps[:WIDTH])[0].astype(np.float32)
