"""How large a column's PSI gets when nothing has changed: the reference compared with itself, day by day.

Rows of one day resemble each other, so random rows would understate the noise: whole days are resampled.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from contract.errors import FlightlineError
from monitoring.psi import bin_codes, is_by_value, psi_of_counts, usable_rows

_MIN_DAYS = 4  # fewer days have hardly a different split


def calibrate(
    reference: pl.DataFrame,
    columns: Sequence[str],
    window_days: int,
    *,
    seed: int,
    resamples: int = 200,
    quantile: float = 0.99,
) -> dict[str, float]:
    """The PSI (nats) of each column that only a share of `1 - quantile` of no-drift windows exceeds.

    Each resample sets `window_days` random days of the reference (column `day`, a date) against its other
    days; at most half of the days, so that the remainder is no noisier than the window. A column without
    usable values has NaN.

    Raises:
        FlightlineError: the reference has too few days to be split.
    """
    days, day_of_row = np.unique(reference["day"].to_numpy(), return_inverse=True)
    if len(days) < _MIN_DAYS:
        raise FlightlineError(
            f"the reference has {len(days)} days", f"at least {_MIN_DAYS}", "Package the model with more days"
        )
    taken = max(1, min(window_days, len(days) // 2))
    generator = np.random.default_rng(seed)
    ranks = generator.random((resamples, len(days))).argsort(axis=1)
    window = (ranks < taken).astype(np.float64)  # (resamples, days)
    noise = {}
    for name in columns:
        rows = usable_rows(reference[name])
        values = reference[name].filter(rows)
        if values.is_empty():
            noise[name] = float("nan")
            continue
        codes, bins = bin_codes(values, by_value=is_by_value(values))
        day = day_of_row[rows.to_numpy()]
        counts = np.bincount(day * bins + codes, minlength=len(days) * bins).astype(np.float64)
        table = counts.reshape(len(days), bins)
        current = window @ table
        resampled = psi_of_counts(table.sum(axis=0) - current, current)
        resampled = resampled[np.isfinite(resampled)]
        # A column that has values on a single day has no split with values on both sides.
        noise[name] = float(np.quantile(resampled, quantile)) if resampled.size else float("nan")
    return noise
