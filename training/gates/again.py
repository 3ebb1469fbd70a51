"""G14: does the same training give the same model?"""

import hashlib
from typing import Any

import msgspec
import numpy as np
import polars as pl

from training.export import run, to_onnx
from training.gates.policy import Reproducible
from training.gates.verdict import Verdict, judge, number
from training.model import Model


class Again(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The graph that ships beside that of a second training from the same rows, parameters and seed."""

    shipped: str  # sha256
    again: str  # sha256
    difference: float  # largest of any score on the validation rows


def train_again(
    model: Model, train: pl.DataFrame, validation: pl.DataFrame, params: Any, seed: int, *, shipped: bytes
) -> Again:
    """Fit as the stage `train` did, and compare with the graph `shipped`.

    Raises:
        FlightlineError: the second pipeline cannot be converted, or a graph takes other inputs.
    """
    graph = to_onnx(model.fit(model.contract, train, validation, params, seed).pipeline, model.contract)
    _, first = run(shipped, model.contract, validation)
    _, second = run(graph, model.contract, validation)
    # NaN in both is no difference; in one of them it is.
    apart = np.where(np.isnan(first) & np.isnan(second), 0, np.abs(first - second))
    return Again(
        shipped=hashlib.sha256(shipped).hexdigest(),
        again=hashlib.sha256(graph).hexdigest(),
        difference=float(np.nan_to_num(apart, nan=np.inf).max()),
    )


def same_again(found: Again, shipped: bytes, limits: Reproducible) -> Verdict:
    """G14: byte for byte the same graph. Equal scores alone do not do: other rows may tell them apart."""
    problems = []
    if found.shipped != hashlib.sha256(shipped).hexdigest():
        problems.append("the second training was compared with another graph than the one that ships")
    if found.again != found.shipped:
        problems.append(
            "the same rows, parameters and seed gave another graph, whose scores differ by up to"
            f" {number(found.difference)}"
        )
    return judge(
        "G14",
        f"{found.shipped[:12]}, again {found.again[:12]}",
        limits.graph,
        problems,
        "a second training gave the same graph",
    )
