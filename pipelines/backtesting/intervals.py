"""How sure a mean loss and a ROC AUC are: whole days are drawn anew, since rows of one day are alike."""

import msgspec
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

RESAMPLES, CONFIDENCE, SEED = 2_000, 0.95, 5


class Interval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An estimate and its percentile bootstrap interval at `CONFIDENCE`."""

    value: float
    low: float
    high: float


class Resampled:
    """The same draws of days for every figure of the same rows, so that differences of figures are paired.

    A figure is an array (1 + resamples,): over all rows as they are, then over each draw.
    """

    def __init__(self, blocks: npt.NDArray[np.generic], resamples: int = RESAMPLES, seed: int = SEED) -> None:
        """Draw the days in `blocks` (rows,); every draw has as many days as there are different ones."""
        _, self._day = np.unique(blocks, return_inverse=True)
        self.days = int(self._day.max()) + 1
        even = np.full(self.days, 1 / self.days)
        drawn = np.random.default_rng(seed).multinomial(self.days, even, size=resamples)
        self._drawn = np.vstack([np.ones(self.days), drawn])  # (1 + resamples, days)

    def mean(self, values: Floats) -> Floats:
        """The mean of `values` (rows,)."""
        sums = np.bincount(self._day, values, self.days)
        return np.asarray(self._drawn @ sums / (self._drawn @ np.bincount(self._day, minlength=self.days)))

    def auc(self, scores: Floats, positive: npt.NDArray[np.bool_]) -> Floats:
        """The ROC AUC of `scores` (rows,): the share of pairs that the positive row wins, ties counting half.

        A draw holds the pairs of its days, so it needs their counts by pair of days and not the rows again.
        It is NaN for a draw without rows of both kinds.
        """
        won = np.zeros((self.days, self.days))  # [day of the positive, day of the negative]
        own, day = scores[positive], self._day[positive]
        others, other_day = scores[~positive], self._day[~positive]
        for index in range(self.days):
            below = np.sort(others[other_day == index])
            half = np.searchsorted(below, own, "left") + np.searchsorted(below, own, "right")
            won[:, index] = np.bincount(day, half / 2, self.days)
        pairs = (self._drawn @ np.bincount(day, minlength=self.days)) * (
            self._drawn @ np.bincount(other_day, minlength=self.days)
        )
        with np.errstate(invalid="ignore"):
            return np.asarray(((self._drawn @ won) * self._drawn).sum(axis=1) / pairs)


def interval(figure: Floats, confidence: float = CONFIDENCE) -> Interval:
    """The first entry of `figure` and the range of the middle share `confidence` of the others."""
    low, high = np.quantile(figure[1:], [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(figure[0]), float(low), float(high))
