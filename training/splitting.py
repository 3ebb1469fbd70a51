"""Which rows train, which validate, which test. No row is in two of them."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import msgspec
import numpy as np
import polars as pl

from contract.errors import ConfigError
from training.model import AT, ID, LABEL, LABEL_AT


class TimeSplit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="time"):
    """The last days test, the days before them validate, all earlier ones train."""

    test_days: int
    validation_days: int


class RandomSplit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="random"):
    """Fixed shares of rows without a time, drawn once by a seed of their own."""

    test_share: float
    validation_share: float
    seed: int


SplitParams = TimeSplit | RandomSplit
Part = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Split:
    """Three disjoint tables and the last moment that fitting or early stopping saw."""

    train: pl.DataFrame
    validation: pl.DataFrame
    test: pl.DataFrame
    fit_until: datetime


def split(examples: pl.DataFrame, how: SplitParams, as_of: datetime) -> Split:
    """Cut the labelled `examples` as `how` says, using only labels that had arrived by `as_of`.

    In a split by time a part holds only labels that had arrived when the next part begins: the last flights
    before that moment land after it, and a model that was trained then could not have learnt from them.

    Raises:
        ConfigError: a part would be empty.
    """
    known = examples.filter(pl.col(LABEL).is_not_null() & (pl.col(LABEL_AT) <= as_of)).sort(AT, ID)
    if isinstance(how, TimeSplit):
        test_from = as_of - timedelta(days=how.test_days)
        moment, arrived = pl.col(AT), pl.col(LABEL_AT)
        validation_from = test_from - timedelta(days=how.validation_days)
        parts = Split(
            train=known.filter(moment < validation_from, arrived < validation_from),
            validation=known.filter(moment >= validation_from, moment < test_from, arrived < test_from),
            test=known.filter(moment >= test_from),
            fit_until=test_from,
        )
    else:
        order = np.random.default_rng(how.seed).permutation(known.height)
        test, validation = (round(share * known.height) for share in (how.test_share, how.validation_share))
        pieces = np.split(order, [test, test + validation])
        parts = Split(
            train=known[np.sort(pieces[2])],
            validation=known[np.sort(pieces[1])],
            test=known[np.sort(pieces[0])],
            fit_until=as_of,
        )
    for name in ("train", "validation", "test"):
        if getattr(parts, name).is_empty():
            raise ConfigError(
                f"the {name} part is empty as of {as_of:%Y-%m-%d}",
                "rows in each of train, validation and test",
                "Choose an as_of with more labelled days before it, or a shorter test period in params.yaml",
            )
    return parts
