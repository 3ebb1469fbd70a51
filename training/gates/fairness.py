"""G16: is every group that the model declares told what is true of it, or is one accused at large?"""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import numpy as np

from contract.schema import Contract
from training.evaluation import losses
from training.gates.policy import Fair
from training.gates.verdict import Verdict, judge, not_applicable, number


@dataclass(frozen=True)
class Gap:
    """By how much more than all others a group's scores exceed what happened to it."""

    group: str
    rows: int
    mean: float
    low: float
    high: float

    @property
    def shown(self) -> float:
        """The least the gap is at this confidence, whatever its sign; 0 where the interval holds 0."""
        return max(self.low, -self.high, 0.0)


def fair(excess: np.ndarray, groups: Mapping[str, np.ndarray], blocks: np.ndarray, limits: Fair) -> Verdict:
    """No group's calibration in the large is shown to differ from everybody else's by more than the margin.

    Calibration within groups is what can be asked where groups differ in their base rates; equal rates of
    errors cannot be had at the same time (Kleinberg, Mullainathan and Raghavan 2016; Hardt, Price and Srebro
    2016 ask for those). A base rate that drifts for all alike is G07's matter, so a group is compared with
    the rest of the same days. Blocks are drawn whole, and the confidence is shared out among all comparisons
    (Bonferroni), so that the small group with the unluckiest week does not stop every model.

    Args:
        excess: score minus outcome of each row, float (rows,).
        groups: by feature, the group of each row, str (rows,).
        blocks: the day of each row.
        limits: margin, confidence, resamples, seed, and how many rows and blocks a group needs.
    """
    if not groups:
        return not_applicable("G16", "the model declares no groups")
    threshold = f"gap <= {limits.margin} at {limits.confidence:.0%}, groups of >= {limits.min_rows} rows"
    if not np.isfinite(excess).all():
        bad = int(np.sum(~np.isfinite(excess)))
        return judge("G16", "NaN or Inf", threshold, [f"{bad} scores are NaN or infinite"], "")
    _, block = np.unique(blocks, return_inverse=True)
    judged: list[tuple[str, np.ndarray]] = []
    small, problems = [], []
    for feature, values in groups.items():
        of_feature = []
        for value in np.unique(values):
            name, inside = f"{feature} {value or '(missing)'}", np.asarray(values == value)
            if not _enough(inside, block, limits):
                small.append(f"{name} ({inside.sum()})")
            elif _enough(~inside, block, limits):
                of_feature.append((name, inside))
        if not of_feature:
            problems.append(f"no two groups of {feature} can be compared")
        judged += of_feature
    gaps = _gaps(excess, judged, block, limits)
    problems += [
        f"{gap.group}: scores are {gap.mean:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}] off beside all others"
        for gap in gaps
        if not gap.shown <= limits.margin
    ]
    worst = max(gaps, key=lambda gap: gap.shown, default=None)
    value = "0 groups" if worst is None else f"{worst.group} {number(worst.shown)} of {worst.mean:+.3f}"
    left_out = f"; too few rows to judge: {', '.join(small)}" if small else ""
    verdict = judge("G16", value, threshold, problems, f"{len(gaps)} groups are within the margin")
    return msgspec.structs.replace(verdict, reason=verdict.reason + left_out)


def excess(label: np.ndarray, scores: np.ndarray, contract: Contract) -> np.ndarray:
    """By how much each row's score exceeds what happened, float64 (rows,).

    For probabilities the last class's probability minus its occurrence; for other scores, which have no unit
    in common with it, the mistake: 0 or 1.
    """
    if contract.scores != "probability":
        return losses(label, scores, contract)
    return np.asarray(scores[:, -1].astype(np.float64) - (label == len(contract.classes) - 1))


def _enough(rows: np.ndarray, block: np.ndarray, limits: Fair) -> bool:
    return bool(rows.sum() >= limits.min_rows and len(np.unique(block[rows])) >= limits.min_blocks)


def _gaps(
    excess: np.ndarray, judged: list[tuple[str, np.ndarray]], block: np.ndarray, limits: Fair
) -> list[Gap]:
    if not judged:
        return []
    count = int(block.max()) + 1
    draws = np.random.default_rng(limits.seed).integers(0, count, (limits.resamples, count))
    tail = (1 - limits.confidence) / 2 / len(judged)
    found = []
    for name, inside in judged:
        drawn = []
        for part in (inside, ~inside):
            sums = np.bincount(block[part], excess[part], count)[draws].sum(axis=1)
            sizes = np.bincount(block[part], minlength=count)[draws].sum(axis=1)
            # A draw without a row of the group says nothing of it.
            drawn.append(np.divide(sums, sizes, out=np.full(len(sums), np.nan), where=sizes > 0))
        low, high = np.nanquantile(drawn[0] - drawn[1], [tail, 1 - tail])
        mean = float(excess[inside].mean() - excess[~inside].mean())
        found.append(Gap(name, int(inside.sum()), mean, float(low), float(high)))
    return found
