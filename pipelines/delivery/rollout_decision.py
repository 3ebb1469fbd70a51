"""Whether a step of a rollout may end, and how: a pure function of what was seen and what is allowed.

Every signal is a share of what was counted: requests that failed, requests slower than the champion's p99
allows, rows that were labelled differently. A share is compared with its limit in two ways. It is *surely
outside* when so many would be seen with a probability of less than ALPHA if the limit were kept; that ends
the rollout at once, however few were counted. And it is *within* when it does not exceed the limit once as
much is counted as the policy wants to see. What is neither waits, until the step's time is over.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from pipelines.delivery.rollout_policy import Rollout, Step
from serving.recording.tally import BUCKETS

Verdict = Literal["proceed", "wait", "roll back", "inconclusive"]
Kind = Literal["shadow", "canary"]

# Of ten thousand looks at a version that just keeps a limit one is wrong. A step of a minute takes up to six
# hundred, and they nearly all see the same.
ALPHA = 1e-4
SLOW = 0.01  # p99: the share of requests that may be slower
LEAST_P99 = 100  # requests of the champion without which it has no p99 to speak of


@dataclass(frozen=True)
class Latencies:
    """How many took how long: by the first of BUCKETS (seconds) that is not exceeded, and one beyond them."""

    counts: tuple[int, ...] = (0,) * (len(BUCKETS) + 1)

    @property
    def total(self) -> int:
        """How many there are."""
        return sum(self.counts)

    def p99(self) -> float:
        """Seconds that 99 of 100 did not exceed, as a bucket's bound; 0 of none, infinite beyond the last."""
        reached = 0
        for bound, count in zip((*BUCKETS, math.inf), self.counts, strict=True):
            reached += count
            if reached >= (1 - SLOW) * self.total:
                return bound if self.total else 0.0
        return math.inf

    def over(self, seconds: float) -> int:
        """How many surely took longer than `seconds`."""
        bounds = (0.0, *BUCKETS)  # the lower end of each bucket
        return sum(count for bound, count in zip(bounds, self.counts, strict=True) if bound >= seconds)


@dataclass(frozen=True)
class Evidence:
    """What was seen since a step began."""

    seconds: float = 0.0  # since then
    answered: int = 0  # requests that the version answered
    failed: int = 0  # good ones that it could not answer
    probes: int = 0  # of both together, the deployer's own
    latencies: Latencies = field(
        default_factory=Latencies
    )  # of what it answered; in a shadow step, of its runs
    compared: int = 0  # mirrored rows that it answered
    differed: int = 0  # of these, those that the champion labelled differently
    shadow_failed: int = 0  # mirrored rows that it could not answer
    probed: int = 0  # mirrored rows that stem from the deployer's own requests
    champion: Latencies = field(
        default_factory=Latencies
    )  # of what the champion answered while the version answered nobody


@dataclass(frozen=True)
class Decision:
    """What follows, and why."""

    verdict: Verdict
    reason: str


@dataclass(frozen=True)
class _Share:
    """One signal: `found` of `of`, of which `limit` may be."""

    what: str
    found: int
    of: int
    limit: float

    @property
    def outside(self) -> bool:
        return self.found > self.limit * self.of

    @property
    def surely(self) -> bool:
        return self.outside and tail(self.found, self.of, self.limit) < ALPHA

    def __str__(self) -> str:
        share = self.found / max(self.of, 1)
        return f"{self.found} of {self.of} {self.what} ({share:.2%}, allowed {self.limit:.2%})"


def decide(kind: Kind, step: Step, seen: Evidence, policy: Rollout) -> Decision:
    """What to do with a version of which `seen` was seen in `step`.

    What is surely outside the policy rolls back at once. Otherwise nothing is decided before the step has its
    evidence and its least time; a step that does not come to have it within its longest time is inconclusive.
    With evidence enough, a share over its limit may still come down; at the end of the time it rolls back.
    """
    shares = tuple(_shares(kind, seen, policy))
    sure = [str(share) for share in shares if share.surely]
    if sure:
        return Decision("roll back", "; ".join(sure))
    lacking = _lacking(kind, step, seen, policy)
    over = seen.seconds >= step.longest_s
    if lacking:
        return Decision("inconclusive" if over else "wait", lacking + (_within(step) if over else ""))
    outside = [str(share) for share in shares if share.outside and share.of >= step.requests]
    if outside:
        return Decision("roll back" if over else "wait", "; ".join(outside))
    if seen.seconds < step.least_s:
        return Decision("wait", f"the step lasts {step.least_s:g} s")
    return Decision("proceed", "; ".join(str(share) for share in shares if share.of))


def slow_from(seen: Evidence, policy: Rollout) -> float:
    """Seconds over which a request counts as slow: the champion's p99 times what is allowed, or the floor.

    Without enough of the champion's requests the floor alone counts.
    """
    floor = policy.p99_floor_ms / 1000
    if seen.champion.total < LEAST_P99:
        return floor
    return max(floor, policy.p99_ratio * seen.champion.p99())


def tail(found: int, of: int, share: float) -> float:
    """The probability of at least `found` among `of` independent ones, each with the probability `share`.

    The upper tail of the binomial distribution, summed from its largest term on, which is the first where
    `found` is over the expectation; it is 1 where it is not.
    """
    if found <= share * of:
        return 1.0
    if share == 0:
        return 0.0
    log = math.lgamma(of + 1) - math.lgamma(found + 1) - math.lgamma(of - found + 1)
    term = math.exp(log + found * math.log(share) + (of - found) * math.log1p(-share))
    total = 0.0
    for count in range(found, of + 1):
        total += term
        if term <= total * 1e-12:
            break
        term *= (of - count) / (count + 1) * share / (1 - share)
    return min(total, 1.0)


def _shares(kind: Kind, seen: Evidence, policy: Rollout) -> Iterator[_Share]:
    rows = seen.compared + seen.shadow_failed
    failed, of = (
        (seen.shadow_failed, rows) if kind == "shadow" else (seen.failed, seen.answered + seen.failed)
    )
    yield _Share("could not be answered", failed, of, policy.failed)
    bound = slow_from(seen, policy)
    slow = seen.latencies.over(bound)
    yield _Share(f"took over {bound * 1000:.3g} ms", slow, seen.latencies.total, SLOW)
    yield _Share("were labelled differently", seen.differed, seen.compared, policy.disagreement)


def _lacking(kind: Kind, step: Step, seen: Evidence, policy: Rollout) -> str:
    """What there is not enough of; empty where there is."""
    have, own = (seen.compared, seen.probed) if kind == "shadow" else (seen.answered, seen.probes)
    what = "rows compared" if kind == "shadow" else "requests answered"
    if have < step.requests:
        return f"{have} of {step.requests} {what}"
    callers = max(have - own, 0)  # of the deployer's own some are still on their way
    if callers < policy.callers:
        return f"{callers} of {policy.callers} {what} for callers, {own} for the deployer"
    return ""


def _within(step: Step) -> str:
    return f" within {step.longest_s:g} s"
