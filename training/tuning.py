"""How good a choice of hyperparameters is, told by rows that the final model may learn from: none held out.

A fold is what the pipeline would have made earlier: the same split again, inside the training and validation
rows. So the days that score a choice are later than those that stop its training, and both are later than
those it learns from.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import polars as pl

from training.evaluation import losses
from training.learning import answers, target
from training.model import Curve, Model
from training.splitting import Split, SplitParams, TimeSplit, split


@dataclass(frozen=True)
class Fold:
    """Rows to learn from, to stop on and (`parts.test`) to score on, none of them held out."""

    name: str
    parts: Split


@dataclass(frozen=True)
class Score:
    """What one fold says of one choice of hyperparameters."""

    fold: str
    loss: float  # mean over the fold's scoring rows: nats for probabilities, else the share of wrong labels
    curve: Curve


def folds(rows: pl.DataFrame, how: SplitParams, until: datetime, count: int) -> tuple[Fold, ...]:
    """`count` folds of the learnable `rows`, which all have labels that had arrived by `until`.

    By time: the first fold scores on the validation days, that is the last `validation_days` before `until`,
    stops on as many days before them and learns from the rest; each further fold does so `validation_days`
    earlier. At random: one draw a fold, with the shares of the split itself and seeds that follow its seed.

    Raises:
        ConfigError: a part of a fold would be empty.
    """
    found = []
    for index in range(count):
        if isinstance(how, TimeSplit):
            inner: SplitParams = TimeSplit(how.validation_days, how.validation_days)
            end = until - timedelta(days=index * how.validation_days)
            name = f"{end - timedelta(days=how.validation_days):%Y-%m-%d}"
        else:
            inner, end = msgspec.structs.replace(how, seed=how.seed + index), until
            name = f"draw {index}"
        found.append(Fold(name, split(rows, inner, end)))
    return tuple(found)


def score(model: Model, fold: Fold, params: Any, seed: int) -> Score:
    """Fit `model` with `params` on the fold and take its loss on the fold's scoring rows."""
    parts = fold.parts
    fitted = model.fit(model.contract, parts.train, parts.validation, params, seed)
    _, scores = answers(fitted.pipeline, model.contract, parts.test)
    loss = losses(target(parts.test), scores, model.contract)
    return Score(fold.name, float(np.mean(loss)), fitted.curve)
