"""Confidence intervals of a mean difference whose rows are not independent."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Interval:
    """A mean and its two one-sided confidence bounds, in the unit of what was averaged."""

    mean: float
    lower: float
    upper: float
    blocks: int


def block_sizes(blocks: np.ndarray) -> np.ndarray:
    """Rows of each distinct block, int (blocks,)."""
    return np.unique(blocks, return_counts=True)[1]


def blocked(
    difference: np.ndarray, blocks: np.ndarray, confidence: float, resamples: int, seed: int
) -> Interval:
    """Percentile interval of the mean of `difference`, drawing whole blocks.

    Künsch 1989; Efron and Tibshirani 1993.

    Args:
        difference: one number a row, float (rows,); paired differences make it a paired bootstrap.
        blocks: the block of each row, (rows,): rows of one block are drawn together.
        confidence: of each bound by itself.
        resamples: how often the blocks are drawn.
        seed: of the draws.
    """
    _, block = np.unique(blocks, return_inverse=True)
    sums, sizes = np.bincount(block, difference), np.bincount(block)
    draws = np.random.default_rng(seed).integers(0, len(sizes), (resamples, len(sizes)))
    means = sums[draws].sum(axis=1) / sizes[draws].sum(axis=1)
    lower, upper = np.quantile(means, 1 - confidence), np.quantile(means, confidence)
    return Interval(float(difference.mean()), float(lower), float(upper), len(sizes))


def expanded(confidence: float, blocks: int) -> float:
    """The confidence to ask of a percentile interval of few blocks, so that it holds at `confidence`.

    A percentile interval of n blocks is too narrow, the more so the farther out its bound: it has normal
    tails instead of Student's, and divides by n instead of n - 1 (Hesterberg 2015, the expanded interval).
    """
    from scipy.special import ndtr, stdtrit  # type: ignore[import-untyped]

    return float(ndtr(stdtrit(blocks - 1, confidence) * (blocks / (blocks - 1)) ** 0.5))
