"""G08: does a feature know what only the future can tell? Two nets, each for what slips through the other.

The single-feature scores find what predicts the target too well, whatever made it: a raw table may be wrong
about when its rows became known. The recomputation finds what a sound raw table shows to be of later, though
it predict nothing: a history that is shifted by an hour.
"""

from collections.abc import Mapping

import msgspec
import numpy as np
import polars as pl

from contract.schema import Contract
from training.gates.policy import NoLeak
from training.gates.verdict import Verdict, judge, number
from training.learning import Labels, target

PRIOR = 20  # rows; how much a value must show before its own share counts as much as everybody's
SHOWN = 5  # features named in a reason


class Leakage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What each feature tells alone, and which features are not what they would have been at their moment."""

    single: dict[str, float]  # feature -> ROC AUC on the held-out rows, mean over classes against the rest
    moments: int  # at which features were computed again from what was known then
    rows: int  # held-out examples at those moments
    lost: int  # of those, examples that could not be made again
    differing: dict[str, int]  # feature -> rows with another value


def single_features(train: pl.DataFrame, test: pl.DataFrame, contract: Contract) -> dict[str, float]:
    """The ROC AUC that each feature reaches alone.

    Its predictor is a table: the share of each class among the training rows with the same value, drawn to
    the share among all of them. Numbers are cut at the training rows' quantiles, as many as the square root
    of the rows, so that any shape shows and no direction is assumed.
    """
    label, wanted = target(train), target(test)
    found = {}
    for feature in contract.features:
        if feature.kind == "number":
            edges = _edges(_numbers(train, feature.name))
            codes = [_binned(_numbers(part, feature.name), edges) for part in (train, test)]
        else:
            codes = _coded(train[feature.name], test[feature.name])
        shares = _shares(codes[0], label, len(contract.classes), int(max(map(np.max, codes))) + 1)
        found[feature.name] = _auc(wanted, shares, codes[1])
    return found


def no_leak(found: Leakage, limits: NoLeak) -> Verdict:
    """G08: no feature tells too much alone, and each is what was known at its moment. NaN tells too much."""
    problems = []
    loud = {name: auc for name, auc in found.single.items() if not auc <= limits.max_single_auc}
    if loud or not found.single:
        shown = _named(loud) or "no feature was measured"
        problems.append(f"too good to be true alone, over {limits.max_single_auc}: {shown}")
    if found.differing:
        rows = {name: f"{count} of {found.rows} rows" for name, count in found.differing.items()}
        problems.append(f"not what was known at the moment of prediction: {_named(rows)}")
    if found.lost:
        problems.append(f"{found.lost} of {found.rows} examples cannot be made from what was known")
    if found.rows < limits.min_rows:
        problems.append(f"{found.rows} examples were made again, under {limits.min_rows}")
    best = max(found.single, key=lambda name: found.single[name], default="none")
    return judge(
        "G08",
        f"{best} {number(found.single.get(best, np.nan))} alone; {len(found.differing)} features differ"
        f" in {found.rows} rows of {found.moments} moments",
        f"ROC AUC of one feature <= {limits.max_single_auc}, 0 features differ in >= {limits.min_rows} rows",
        problems,
        "no feature tells too much, and each is what was known at its moment",
    )


def _named(found: Mapping[str, object]) -> str:
    shown = [
        f"{name} ({value:.3f})" if isinstance(value, float) else f"{name} ({value})"
        for name, value in list(found.items())[:SHOWN]
    ]
    more = len(found) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _numbers(rows: pl.DataFrame, name: str) -> np.ndarray:
    return rows[name].cast(pl.Float64).fill_null(np.nan).to_numpy()


def _edges(values: np.ndarray) -> np.ndarray:
    known = values[~np.isnan(values)]
    if not len(known):
        return np.array([])
    shares = np.linspace(0, 1, int(np.sqrt(len(values))) + 1)[1:-1]
    return np.unique(np.quantile(known, shares, method="lower"))


def _binned(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The bin of each value; missing values are a bin of their own."""
    return np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values, side="left"))


def _coded(train: pl.Series, test: pl.Series) -> list[np.ndarray]:
    """A number for each category of the training rows, and one more for all others."""
    known = train.fill_null("").unique().sort()
    codes = dict(zip(known, range(len(known)), strict=True))
    return [
        np.array([codes.get(value, len(known)) for value in part.fill_null("")]) for part in (train, test)
    ]


def _shares(codes: np.ndarray, label: Labels, classes: int, values: int) -> np.ndarray:
    counts = np.zeros((values, classes))
    np.add.at(counts, (codes, label), 1)
    prior = np.bincount(label, minlength=classes) / len(label)
    return np.asarray((counts + PRIOR * prior) / (counts.sum(axis=1, keepdims=True) + PRIOR))


def _auc(label: Labels, shares: np.ndarray, codes: np.ndarray) -> float:
    """Mean over the classes that the held-out rows both show and lack, each against the rest.

    Args:
        label: int (rows,).
        shares: (values, classes), the predictor.
        codes: int (rows,), the value of each row.
    """
    found = []
    for index in range(shares.shape[1]):
        hit = label == index
        if 0 < hit.sum() < len(hit):
            _, rank = np.unique(shares[:, index], return_inverse=True)
            found.append(_area(rank[codes], hit))
    return float(np.mean(found)) if found else float("nan")


def _area(rank: np.ndarray, hit: np.ndarray) -> float:
    """The area below the ROC curve: how often a hit has a higher rank than a miss, a tie being a half."""
    misses, hits = np.bincount(rank, ~hit), np.bincount(rank, hit)
    below = np.cumsum(misses) - misses
    return float(hits @ (below + misses / 2) / (hits.sum() * misses.sum()))
