"""G07: when the model says thirty percent, does it happen three times in ten?"""

import math

import numpy as np

from contract.schema import Contract
from training.evaluation import calibration_error
from training.gates.policy import Calibrated
from training.gates.verdict import Verdict, judge, not_applicable, number

_TINY = 1e-7  # scores are float32: closer to 0 or 1 than this is rounding
_STEPS = 100  # Newton's method needs about ten; more means that there is no maximum
_SETTLED = 1e-9


def calibrated(label: np.ndarray, scores: np.ndarray, contract: Contract, limits: Calibrated) -> Verdict:
    """The last class's probability is met by its frequency, and is neither too sure nor too vague.

    Args:
        label: index of each row's class, int (rows,).
        scores: float (rows, classes).
        contract: says whether scores are probabilities; nothing else can be calibrated.
        limits: the most the expected calibration error may be, and the range of the calibration slope.
    """
    if contract.scores != "probability":
        return not_applicable("G07", f"scores of the kind '{contract.scores}' are no probabilities")
    threshold = f"error <= {limits.max_calibration_error}, slope {limits.min_slope} to {limits.max_slope}"
    hit = np.asarray(label == len(contract.classes) - 1, dtype=np.float64)
    probability = scores[:, -1].astype(np.float64)
    if not len(hit):
        return judge("G07", "0 rows", threshold, ["there is no held-out row"], "")
    # NaN is refused by this comparison too.
    odd = int(np.sum(~((probability >= 0) & (probability <= 1))))
    if odd:
        problem = f"{odd} of {len(hit)} scores are no probabilities"
        return judge("G07", f"{odd} odd scores", threshold, [problem], "")
    error, slope = calibration_error(hit, probability), calibration_slope(hit, probability)
    gap = float(np.mean(probability - hit))
    problems = []
    if not error <= limits.max_calibration_error:
        problems.append(
            f"the calibration error is {number(error)}, over {limits.max_calibration_error}; "
            f"on average the model says {gap:+.3f} against what happened"
        )
    if not limits.min_slope <= slope <= limits.max_slope:
        word = "too sure" if slope < limits.min_slope else "too vague" if slope > limits.max_slope else "odd"
        problems.append(f"the calibration slope is {number(slope)}: the scores are {word}")
    value = f"error {number(error)}, slope {number(slope)}, in the large {gap:+.4f}"
    return judge(
        "G07", value, threshold, problems, f"probabilities are met within {number(error)} on average"
    )


def calibration_slope(hit: np.ndarray, probability: np.ndarray) -> float:
    """The slope of a logistic regression of `hit` (0 or 1) on the logit of `probability` (Cox 1958).

    1 is right, below 1 the probabilities are too extreme, above 1 too close together. A shift of all logits
    by one amount does not change it, so a base rate that has drifted is not mistaken for overconfidence.

    Returns:
        NaN where it is not defined: one class only, one probability only, or classes that a threshold
        separates without a mistake.
    """
    inside = np.clip(probability, _TINY, 1 - _TINY)
    logit = np.log(inside / (1 - inside))
    rate = float(hit.mean())
    if rate in (0.0, 1.0) or float(np.ptp(logit)) == 0:
        return math.nan
    x = np.column_stack([np.ones_like(logit), logit])
    weights = np.array([math.log(rate / (1 - rate)), 0.0])
    for _ in range(_STEPS):
        expected = 1 / (1 + np.exp(-np.clip(x @ weights, -500, 500)))
        information = (x * (expected * (1 - expected))[:, None]).T @ x
        if not np.linalg.cond(information) < 1 / np.finfo(np.float64).eps:
            return math.nan
        step = np.linalg.solve(information, x.T @ (hit - expected))
        weights = weights + step
        if float(np.abs(step).max()) < _SETTLED:
            return float(weights[1])
    return math.nan
