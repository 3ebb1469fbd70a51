"""G03 and G04: good enough in itself, and better than what costs nothing."""

from collections.abc import Mapping

from training.gates.policy import Beats, Bound
from training.gates.verdict import Verdict, judge, number

LOWER_IS_BETTER = frozenset({"log_loss", "brier", "calibration_error"})


def over_thresholds(metrics: Mapping[str, float], bounds: tuple[Bound, ...]) -> Verdict:
    """G03: every named metric of the held-out period is within its bounds. NaN is within none."""
    problems, values, limits = [], [], []
    for bound in bounds:
        value = metrics.get(bound.metric, float("nan"))
        low = float("-inf") if bound.min is None else bound.min
        high = float("inf") if bound.max is None else bound.max
        text = " and ".join(
            part
            for part in (
                f">= {bound.min}" if bound.min is not None else "",
                f"<= {bound.max}" if bound.max is not None else "",
            )
            if part
        )
        values.append(f"{bound.metric} {number(value)}")
        limits.append(f"{bound.metric} {text}")
        if not low <= value <= high:
            problems.append(f"{bound.metric} is {number(value)}, not {text}")
    if not bounds:
        problems.append("policy.yaml names no metric")
    fine = "every metric of the held-out period is within its bounds"
    return judge("G03", ", ".join(values), ", ".join(limits), problems, fine)


def beats_rivals(
    model: Mapping[str, float], baseline: Mapping[str, float], simple: Mapping[str, float], limits: Beats
) -> Verdict:
    """G04: better than the trivial baseline and than the simple model, each by its margin."""
    name = limits.metric
    sign = -1.0 if name in LOWER_IS_BETTER else 1.0
    missing = float("nan")
    gains = {
        rival: sign * (model.get(name, missing) - metrics.get(name, missing))
        for rival, metrics in (("baseline", baseline), ("simple model", simple))
    }
    wanted = {"baseline": limits.over_baseline, "simple model": limits.over_simple}
    problems = [
        f"{name} is {'worse' if gain < 0 else 'better'} than the {rival}'s by {number(abs(gain))}"
        f"{'' if gain < 0 else f', under {wanted[rival]}'}"
        for rival, gain in gains.items()
        if not gain >= wanted[rival]
    ]
    value = ", ".join(f"{number(gain)} over the {rival}" for rival, gain in gains.items())
    threshold = ", ".join(f"{least} over the {rival}" for rival, least in wanted.items())
    return judge("G04", value, threshold, problems, f"{name} beats both rivals")
