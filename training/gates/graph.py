"""G09 and G12: the graph that ships is the model that was fitted, and is what the contract says."""

import numpy as np
import polars as pl

from contract.graphs import onnxruntime
from contract.schema import Contract
from training.export import run
from training.gates.policy import Parity, Schema
from training.gates.verdict import Verdict, judge, number

FIRST = 500  # rows


def same_answers(
    fitted_label: np.ndarray,
    fitted_scores: np.ndarray,
    graph_label: np.ndarray,
    graph_scores: np.ndarray,
    limits: Parity,
) -> Verdict:
    """G09: scikit-learn and the graph give the same label and nearly the same scores on every row."""
    flips = int(np.sum(fitted_label != graph_label))
    # NaN must count as a difference; np.max would pass it on and every comparison with it is false.
    apart = np.nan_to_num(np.abs(fitted_scores - graph_scores), nan=np.inf)
    worst = float(apart.max())
    problems = []
    if flips:
        problems.append(f"{flips} of {len(graph_label)} rows get another label")
    if not worst <= limits.max_difference:
        problems.append(f"a score differs by {number(worst)}, over {limits.max_difference}")
    return judge(
        "G09",
        f"{number(worst)}, {flips} flips in {len(graph_label)} rows",
        f"difference <= {limits.max_difference}, 0 flips",
        problems,
        "the graph answers as scikit-learn does on every held-out row",
    )


def is_contract(graph: bytes, contract: Contract, rows: pl.DataFrame, limits: Schema) -> Verdict:
    """G12: the graph's inputs and outputs equal the contract, every feature is used, none is forbidden."""
    problems = []
    found, wanted = signature(graph), expected_signature(contract)
    if found != wanted:
        problems.append(f"the graph is {found}, the contract asks for {wanted}")
    forbidden = sorted({feature.name for feature in contract.features} & set(limits.forbidden))
    if forbidden:
        problems.append(f"forbidden features: {', '.join(forbidden)}")
    unused = [] if found != wanted else unused_features(graph, contract, rows)
    if unused:
        problems.append(f"declared but without any influence: {', '.join(unused)}")
    return judge(
        "G12",
        f"{len(contract.features)} features, {len(unused)} unused, {len(forbidden)} forbidden",
        "signature equal, 0 unused, 0 forbidden",
        problems,
        "inputs, outputs and features are the contract's",
    )


def signature(graph: bytes) -> dict[str, tuple[str, int | None]]:
    """Name -> (element type, width) of the graph's inputs and outputs; width None for a vector."""
    session = onnxruntime().InferenceSession(graph, providers=["CPUExecutionProvider"])
    slots = (*session.get_inputs(), *session.get_outputs())
    return {slot.name: (slot.type, slot.shape[1] if len(slot.shape) > 1 else None) for slot in slots}


def expected_signature(contract: Contract) -> dict[str, tuple[str, int | None]]:
    """What `signature` must give for a graph that serves `contract`."""
    wanted: dict[str, tuple[str, int | None]] = {"numbers": ("tensor(float)", len(contract.numbers))}
    if contract.categories:
        wanted["categories"] = ("tensor(string)", len(contract.categories))
    wanted["label"] = ("tensor(int64)", None)
    wanted["scores"] = ("tensor(float)", len(contract.classes))
    return wanted


def unused_features(graph: bytes, contract: Contract, rows: pl.DataFrame) -> list[str]:
    """Features whose values may be shuffled among `rows` without changing a single score.

    Most features show among the first `FIRST` rows; the others are asked about only where none has changed.
    """
    order = np.random.default_rng(0).permutation(rows.height)
    parts = [part for part in (slice(0, FIRST), slice(FIRST, rows.height)) if rows[part].height]
    # The same parts before and after: a sum may be rounded otherwise in a batch of another size.
    before = [run(graph, contract, rows[part])[1] for part in parts]

    def no_matter(name: str) -> bool:
        other = rows[name][order]
        return all(
            np.array_equal(scores, run(graph, contract, rows[part].with_columns(other[part].alias(name)))[1])
            for part, scores in zip(parts, before, strict=True)
        )

    return [feature.name for feature in contract.features if no_matter(feature.name)]
