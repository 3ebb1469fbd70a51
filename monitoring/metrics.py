"""Quality of predictions against labels, in numpy alone: monitoring has no training library."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# The smallest probability a logarithm is taken of, as in scikit-learn: a certain mistake costs 36 nats.
_TINY = float(np.finfo(np.float64).eps)
_BINARY = 2


def row_log_loss(probabilities: Floats, truth: Integers) -> Floats:
    """Negative log-likelihood (nats) of each row; `probabilities` is (rows, classes), `truth` class indices.

    Rows are first scaled to sum to 1, since float32 scores do so only nearly.
    """
    clipped = np.clip(probabilities, _TINY, 1.0)
    own = clipped[np.arange(len(truth)), truth] / clipped.sum(axis=1)
    return np.asarray(-np.log(own), dtype=np.float64)


def roc_auc(scores: Floats, positive: npt.NDArray[np.bool_]) -> float:
    """Probability that a positive row outscores a negative one, ties counting half; NaN without both.

    The Mann-Whitney U statistic over average ranks: https://doi.org/10.1148/radiology.143.1.7063747
    """
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return float("nan")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    wins = ranks[positive].sum() - positives * (positives + 1) / 2
    return float(wins / (positives * negatives))


def mean_roc_auc(scores: Floats, truth: Integers) -> float:
    """Two classes: the second's ROC AUC. More: the mean over classes, each against the rest; may be NaN."""
    if scores.shape[1] == _BINARY:
        return roc_auc(scores[:, 1], truth == 1)
    return float(np.mean([roc_auc(scores[:, k], truth == k) for k in range(scores.shape[1])]))


def interval_of_means(
    values: Floats, blocks: npt.NDArray[np.generic], *, resamples: int, confidence: float, seed: int
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of `values` when whole `blocks` (days) are redrawn."""
    _, block = np.unique(blocks, return_inverse=True)
    sums = np.bincount(block, weights=values)
    sizes = np.bincount(block).astype(np.float64)
    even = np.full(len(sums), 1 / len(sums))
    drawn = np.random.default_rng(seed).multinomial(len(sums), even, size=resamples).astype(np.float64)
    low, high = np.quantile(drawn @ sums / (drawn @ sizes), [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
