"""G01: did the learner learn, stop, and not run away from what it will meet?"""

import math

from training.gates.policy import Convergence
from training.gates.verdict import Verdict, judge, not_applicable, number
from training.model import Curve


def converges(curve: Curve, limits: Convergence) -> Verdict:
    """The validation loss is finite, falls, ends near its best, and stays near the training loss."""
    if not curve.validation:
        return not_applicable("G01", "this learner has no loss per iteration")
    threshold = f"fall >= {limits.min_fall}, rise <= {limits.max_rise}, gap <= {limits.max_gap}"
    if not all(math.isfinite(loss) for loss in (*curve.train, *curve.validation)):
        bad = sum(not math.isfinite(loss) for loss in (*curve.train, *curve.validation))
        return judge("G01", "NaN or Inf", threshold, [f"{bad} losses are NaN or infinite"], "")
    if not curve.train:
        return judge("G01", "no training loss", threshold, ["the training loss was not recorded"], "")
    first, best, last = curve.validation[0], min(curve.validation), curve.validation[-1]
    if not first > 0:
        problem = f"the first validation loss is {number(first)}, of which nothing can be a share"
        return judge("G01", f"first {number(first)}", threshold, [problem], "")
    fall, rise, gap = 1 - best / first, last - best, last - curve.train[-1]
    problems = []
    if not fall >= limits.min_fall:
        problems.append(f"the validation loss fell by {number(fall)} of its start, under {limits.min_fall}")
    if not rise <= limits.max_rise:
        problems.append(f"the validation loss ends {number(rise)} above its best, over {limits.max_rise}")
    if not gap <= limits.max_gap:
        problems.append(f"validation ends {number(gap)} above training, over {limits.max_gap}: overfitted")
    value = f"fall {number(fall)}, rise {number(rise)}, gap {number(gap)}"
    fine = f"{curve.metric} settled at {number(last)} after {len(curve.validation) - 1} iterations"
    return judge("G01", value, threshold, problems, fine)
