"""What a person looks at to judge a training run, as numbers: curves, calibration, slices.

Two-class models are looked at through their last class; more classes one against the rest, each by its score.
"""

from collections.abc import Iterator

import msgspec
import numpy as np
import polars as pl

from contract.schema import Contract
from training.evaluation import CALIBRATION_BINS, calibration_error, losses
from training.intervals import paired_bootstrap
from training.model import Slice

POINTS = 200  # of a curve: more than a picture shows
CONFIDENCE = 0.975  # of each bound: a 95 % interval
RESAMPLES = 1000
ALL = "all"
TWO = 2  # classes


class Bin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rows of similar probability: what was predicted of them and what happened."""

    predicted: float  # mean probability
    observed: float  # share of rows of the class
    lower: float  # of `observed`
    upper: float
    rows: int


class Point(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One operating point of a ROC curve, for one class against the rest."""

    name: str  # the class
    false_positive_rate: float
    true_positive_rate: float


class Trade(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One operating point of a precision-recall curve, for one class against the rest."""

    name: str  # the class
    recall: float
    precision: float


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a slice of the held-out rows fares. NaN where a figure has no meaning or the slice has no row."""

    name: str
    rows: int
    loss: float  # mean
    lower: float
    upper: float
    base_rate: float = float("nan")  # share of the last class, of two
    roc_auc: float = float("nan")
    calibration_error: float = float("nan")


def shown_classes(contract: Contract) -> Iterator[tuple[int, str]]:
    """Index and name of each class that has a curve of its own."""
    found = enumerate(contract.classes)
    yield from list(found)[-1:] if len(contract.classes) == TWO else found


def reliability(
    label: np.ndarray, scores: np.ndarray, contract: Contract, blocks: np.ndarray, seed: int
) -> tuple[Bin, ...]:
    """The last class's probabilities in ten equal-width bins; empty for decision values.

    Args:
        label: int (rows,), indices into the contract's classes.
        scores: (rows, classes).
        contract: says whether scores are probabilities.
        blocks: (rows,), what the intervals are drawn by.
        seed: of the draws.
    """
    if contract.scores != "probability":
        return ()
    hit, probability = (label == len(contract.classes) - 1).astype(float), scores[:, -1]
    place = np.minimum((probability * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    found = []
    for number in np.unique(place):
        here = place == number
        interval = paired_bootstrap(hit[here], blocks[here], CONFIDENCE, RESAMPLES, seed)
        predicted = float(probability[here].mean())
        found.append(Bin(predicted, interval.mean, interval.lower, interval.upper, int(here.sum())))
    return tuple(found)


def operating_points(hit: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """True and false positives, int (thresholds + 1,), from the strictest threshold to the loosest.

    Rows of equal score share a threshold; the first point, above every score, has none of either.
    """
    order = np.argsort(-score, kind="stable")
    last = np.append(np.nonzero(np.diff(score[order]))[0], len(score) - 1)[: len(score)]
    true = np.cumsum(hit[order].astype(np.int64))[last]
    return np.concatenate([[0], true]), np.concatenate([[0], last + 1 - true])


def roc_auc(hit: np.ndarray, score: np.ndarray) -> float:
    """Area under the ROC curve; NaN where only one kind of row is there."""
    true, false = operating_points(hit, score)
    if not true[-1] or not false[-1]:
        return float("nan")
    return float(np.trapezoid(true / true[-1], false / false[-1]))


def average_precision(hit: np.ndarray, score: np.ndarray) -> float:
    """Mean precision over the steps of recall: the area below the curve without interpolation."""
    true, false = operating_points(hit, score)
    if not true[-1]:
        return float("nan")
    return float(np.sum(np.diff(true / true[-1]) * true[1:] / (true[1:] + false[1:])))


def roc(label: np.ndarray, scores: np.ndarray, contract: Contract) -> tuple[Point, ...]:
    """The ROC curve of each shown class, thinned to `POINTS`; none for a class without rows or rivals."""
    found: list[Point] = []
    for index, name in shown_classes(contract):
        true, false = operating_points(label == index, scores[:, index])
        if true[-1] and false[-1]:
            sensitivity, fallout = true / true[-1], false / false[-1]
            found += [
                Point(name, float(fallout[at]), float(sensitivity[at])) for at in _thin(sensitivity + fallout)
            ]
    return tuple(found)


def precision_recall(label: np.ndarray, scores: np.ndarray, contract: Contract) -> tuple[Trade, ...]:
    """The precision-recall curve of each shown class, thinned to `POINTS`; none for a class without rows."""
    found: list[Trade] = []
    for index, name in shown_classes(contract):
        true, false = (part[1:] for part in operating_points(label == index, scores[:, index]))
        if true[-1]:
            recall, precision = true / true[-1], true / (true + false)
            found += [Trade(name, float(recall[at]), float(precision[at])) for at in _thin(recall)]
    return tuple(found)


def slice_table(
    rows: pl.DataFrame,
    label: np.ndarray,
    scores: np.ndarray,
    contract: Contract,
    *,
    slices: tuple[Slice, ...],
    blocks: np.ndarray,
    seed: int,
) -> tuple[Part, ...]:
    """All held-out rows, then each slice of them.

    Args:
        rows: the held-out examples with their features, which the slices' expressions name.
        label: int (rows,).
        scores: (rows, classes).
        contract: says what the scores are.
        slices: as the model declares them; may be none.
        blocks: (rows,), what the intervals are drawn by.
        seed: of the draws.
    """
    loss = losses(label, scores, contract)
    two = len(contract.classes) == TWO
    found = []
    for name, rule in ((ALL, pl.lit(True)), *((item.name, item.rows) for item in slices)):
        here = rows.select(pl.repeat(True, pl.len()) & rule.fill_null(False)).to_series().to_numpy()
        hit, score = (label[here] == 1).astype(float), scores[here, -1]
        interval = paired_bootstrap(loss[here], blocks[here], CONFIDENCE, RESAMPLES, seed)
        some = bool(here.any()) and two
        found.append(
            Part(
                name=name,
                rows=int(here.sum()),
                loss=interval.mean,
                lower=interval.lower,
                upper=interval.upper,
                base_rate=float(hit.mean()) if some else float("nan"),
                roc_auc=roc_auc(hit, score) if some else float("nan"),
                calibration_error=calibration_error(hit, score)
                if some and contract.scores == "probability"
                else float("nan"),
            )
        )
    return tuple(found)


def _thin(progress: np.ndarray) -> np.ndarray:
    """Indices of at most about `POINTS` points, evenly spaced along `progress`, both ends included."""
    if len(progress) <= POINTS:
        return np.arange(len(progress))
    wanted = np.linspace(progress[0], progress[-1], POINTS)
    inner = np.searchsorted(progress, wanted).clip(0, len(progress) - 1)
    return np.unique(np.concatenate([[0], inner, [len(progress) - 1]]))
