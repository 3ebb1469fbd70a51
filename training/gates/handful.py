"""G02: can the learner, with the model's own parameters, learn a handful of rows by heart?

A learner that cannot is broken, whatever its metrics say. The handful is fitted as `fit` stands, nothing
switched off: each row is repeated, which for a learner is a row of a larger weight, so that limits on the
rows of a leaf and regularisation, chosen for many rows, leave it free to tell the few apart.
"""

from typing import Any

import msgspec
import polars as pl

from contract.schema import Contract
from training.evaluation import losses
from training.export import run, to_onnx
from training.gates.policy import Overfit
from training.gates.verdict import Verdict, judge, number
from training.learning import target
from training.model import LABEL, Model

ROWS = 64  # different ones, over all classes
REPEATS = 512  # more than any sensible least number of rows a leaf


class Memorised(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What became of the handful."""

    rows: int
    classes: int  # how many of the contract's classes the rows show
    loss: float  # mean of the rows, nats or errors as the contract's scores are
    errors: int  # rows with another answer than their label


def handful(rows: pl.DataFrame, contract: Contract, seed: int) -> pl.DataFrame:
    """About `ROWS` of `rows`, as many of each class, no two of them with the same features."""
    names = [feature.name for feature in contract.features]
    different = rows.unique(names, keep="none", maintain_order=True)
    each = ROWS // len(contract.classes)
    parts = [different.filter(pl.col(LABEL) == index) for index in range(len(contract.classes))]
    return pl.concat(part.sample(min(each, part.height), seed=seed) for part in parts)


def memorise(model: Model, train: pl.DataFrame, params: Any, seed: int) -> Memorised:
    """Fit the handful of `train` and ask the graph, as it would ship, about the same rows.

    They serve as validation rows, too: what is to stop early stops once nothing is left to learn.
    """
    few = handful(train, model.contract, seed)
    fitted = model.fit(model.contract, pl.concat([few] * REPEATS), few, params, seed)
    label = target(few)
    answer, scores = run(to_onnx(fitted.pipeline, model.contract), model.contract, few)
    return Memorised(
        rows=few.height,
        classes=few[LABEL].n_unique(),
        loss=float(losses(label, scores, model.contract).mean()),
        errors=int((answer != label).sum()),
    )


def overfits(found: Memorised, classes: int, limits: Overfit) -> Verdict:
    """G02: near to no loss on rows that were learnt by heart; NaN is none."""
    problems = []
    if found.classes != classes:
        # One class alone is learnt by whoever answers always the same.
        problems.append(f"the handful shows {found.classes} of {classes} classes")
    if not found.loss <= limits.max_loss:
        problems.append(
            f"{found.rows} rows learnt by heart still have a loss of {number(found.loss)}, over"
            f" {limits.max_loss}: the learner does not learn what it is given"
        )
    return judge(
        "G02",
        f"loss {number(found.loss)}, {found.errors} errors in {found.rows} rows",
        f"loss <= {limits.max_loss}",
        problems,
        "the learner can learn a handful of rows by heart",
    )
