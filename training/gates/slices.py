"""G06: is there an important slice on which the challenger is shown to be worse than its rival?"""

from collections.abc import Mapping

import numpy as np

from training.gates.policy import Slices
from training.gates.verdict import Verdict, judge, not_applicable
from training.intervals import Interval, block_sizes, expanded, paired_bootstrap


def no_worse_slice(
    difference: np.ndarray, blocks: np.ndarray, members: Mapping[str, np.ndarray], rival: str, limits: Slices
) -> Verdict:
    """Each slice's mean difference of the loss, by a paired, blocked bootstrap, against the margin.

    Args:
        difference: loss of the challenger minus that of its rival, float (rows,).
        blocks: the day of each row, (rows,).
        members: slice -> which rows are in it, bool (rows,); slices may overlap.
        rival: whose loss was subtracted, for the reason.
        limits: margin, confidence of all slices together, resamples, seed, least rows and blocks.

    Returns:
        fail where a slice is *shown* to be worse: its lower bound is above the margin. With many small slices
        some upper bound always is, so that non-inferiority of each would keep every champion for ever; G05
        asks it of the whole. A slice that cannot be told apart from the margin is named, and so is one with
        too few rows. The confidence is shared out among the slices that are judged (Bonferroni 1936).
    """
    few, judged = {}, {}
    for name, rows in members.items():
        days = len(block_sizes(blocks[rows]))
        if rows.sum() < limits.min_rows or days < limits.min_blocks:
            few[name] = f"{name} ({rows.sum()} rows in {days} blocks)"
        else:
            judged[name] = rows
    unjudged = [f"too few rows to judge: {', '.join(few.values())}"] if few else []
    if not judged:
        return not_applicable("G06", "; ".join(unjudged) or "the model declares no slice")
    confidence = 1 - (1 - limits.confidence) / len(judged)
    found = {
        name: paired_bootstrap(
            difference[rows],
            blocks[rows],
            expanded(confidence, len(block_sizes(blocks[rows]))),
            limits.resamples,
            limits.seed,
        )
        for name, rows in judged.items()
    }
    # `not <=`, so that NaN is a failure.
    worse = [name for name, item in found.items() if not item.lower <= limits.margin]
    undecided = [name for name, item in found.items() if name not in worse and item.upper > limits.margin]
    worst = max(found, key=lambda name: _badness(found[name]))
    fine = [f"none of {len(judged)} slices is shown to be worse than the {rival}'s"]
    fine += [f"undecided: {', '.join(undecided)}"] if undecided else []
    problems = [f"{name} is worse than the {rival}'s by {_shown(found[name])}" for name in worse]
    return judge(
        "G06",
        f"worst {worst} {_shown(found[worst])}",
        f"no lower bound > {limits.margin}, {limits.confidence:.0%} over {len(judged)} slices",
        [*problems, *unjudged] if problems else [],
        "; ".join([*fine, *unjudged]),
    )


def _badness(item: Interval) -> float:
    return item.mean if np.isfinite(item.mean) else np.inf


def _shown(item: Interval) -> str:
    return f"{item.mean:+.4f} [{item.lower:+.4f}, {item.upper:+.4f}]"
