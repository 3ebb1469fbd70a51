"""How sure a mean difference is, where rows of one block belong together."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Interval:
    """A mean, between two bounds, over so many blocks."""

    mean: float
    lower: float
    upper: float
    blocks: int


def paired_bootstrap(
    difference: np.ndarray, blocks: np.ndarray, confidence: float, resamples: int, seed: int
) -> Interval:
    """The mean of `difference` with bounds from a blocked bootstrap (percentile method, Efron 1979).

    Args:
        difference: one number a row, float (rows,); paired because both losses of a row are of that row.
        blocks: the block of each row, (rows,); rows of one day share weather and congestion, so whole days
            are drawn. Rows that are independent are a block each.
        confidence: of each bound alone: 0.95 gives the 90 % interval, 0.975 the 95 % interval.
        resamples: how many times as many blocks as there are are drawn with replacement.
        seed: of the draws.

    Returns:
        An interval that is a point where there is one block, and NaN where there is no row.
    """
    if not len(difference):
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    _, block = np.unique(blocks, return_inverse=True)
    sums, sizes = np.bincount(block, difference), np.bincount(block)
    draws = np.random.default_rng(seed).integers(0, len(sizes), (resamples, len(sizes)))
    means = sums[draws].sum(axis=1) / sizes[draws].sum(axis=1)
    return Interval(
        mean=float(np.mean(difference)),
        lower=float(np.quantile(means, 1 - confidence)),
        upper=float(np.quantile(means, confidence)),
        blocks=len(sizes),
    )
