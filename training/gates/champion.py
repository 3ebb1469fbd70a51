"""G05: is the challenger shown not to be worse than the champion, on the same rows?"""

import numpy as np

from training.gates.policy import NotWorse
from training.gates.verdict import Verdict, judge, number
from training.intervals import paired_bootstrap


def not_worse(challenger: np.ndarray, champion: np.ndarray, blocks: np.ndarray, limits: NotWorse) -> Verdict:
    """Non-inferiority of the mean loss by a paired, blocked bootstrap.

    Args:
        challenger: loss of each held-out row, float (rows,).
        champion: the champion's loss of the same rows in the same order.
        blocks: the day of each row; rows of one day share weather and congestion, so whole days are drawn.
        limits: margin, confidence, resamples, seed and the least number of blocks.

    Returns:
        pass where the upper confidence bound of (challenger - champion) is below the margin; inconclusive is
        a failure, because the champion is the safe choice.
    """
    days = len(np.unique(blocks))
    if days < limits.min_blocks:
        # A single block has no spread: its interval would be a point, and any point may be below the margin.
        few = f"{days} blocks are too few to compare on, policy.yaml asks for {limits.min_blocks}"
        return judge("G05", f"{days} blocks", f">= {limits.min_blocks} blocks", [few], "")
    found = paired_bootstrap(challenger - champion, blocks, limits.confidence, limits.resamples, limits.seed)
    mean, lower, upper = found.mean, found.lower, found.upper
    value = f"{mean:+.4f} [{lower:+.4f}, {upper:+.4f}]"
    threshold = f"upper bound < {limits.margin} at {limits.confidence:.0%}"
    problems = []
    if not upper < limits.margin:
        word = "worse" if lower > limits.margin else "not shown to be as good"
        problems.append(f"{word}: the loss may be {number(upper)} above the champion's, over {limits.margin}")
    fine = f"the loss is at most {number(upper)} above the champion's over {days} blocks"
    return judge("G05", value, threshold, problems, fine)
