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


def block_sizes(blocks: np.ndarray) -> np.ndarray:
    """Rows of each distinct block, int (blocks,)."""
    return np.unique(blocks, return_counts=True)[1]


def expanded(confidence: float, blocks: int) -> float:
    """The confidence to ask of a percentile interval of few blocks, so that it holds at `confidence`.

    A percentile interval of n blocks is too narrow, the more so the farther out its bound: it has normal
    tails instead of Student's, and divides by n instead of n - 1 (Hesterberg 2015, the expanded interval).
    """
    from scipy.special import ndtr, stdtrit  # type: ignore[import-untyped]

    return float(ndtr(stdtrit(blocks - 1, confidence) * (blocks / (blocks - 1)) ** 0.5))
