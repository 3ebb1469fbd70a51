"""What follows from what a step of a rollout saw: a table, and the arithmetic under it."""

import math
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from pipelines.delivery.rollout_decision import (
    ALPHA,
    BUCKETS,
    Decision,
    Evidence,
    Latencies,
    Verdict,
    decide,
    slow_from,
    tail,
)
from pipelines.delivery.rollout_policy import Rollout, Step

pytestmark = pytest.mark.unit

STEP = Step(percent=10, requests=200, longest_s=60)
POLICY = Rollout(
    shadow=STEP,
    canary=(STEP,),
    callers=0,
    probes=1000,
    failed=0.001,
    p99_ratio=3,
    p99_floor_ms=20,
    disagreement=0.1,
)
BUSY = msgspec.structs.replace(POLICY, callers=50)
LONG = msgspec.structs.replace(STEP, least_s=30)


def taking(**counts: int) -> Latencies:
    """So many requests, by the milliseconds of the bucket that they fall into: `ms2=190`."""
    bounds = {f"ms{bound * 1000:g}": place for place, bound in enumerate(BUCKETS)}
    found = [0] * (len(BUCKETS) + 1)
    for name, count in counts.items():
        found[bounds.get(name, len(BUCKETS))] += count
    return Latencies(tuple(found))


FINE = Evidence(
    seconds=3,
    answered=200,
    latencies=taking(ms2=200),
    compared=200,
    champion=taking(ms2=300),
)


def seen(**changes: object) -> Evidence:
    """What a version that is in order shows, but for `changes`."""
    values = {name: getattr(FINE, name) for name in FINE.__dataclass_fields__}
    return Evidence(**{**values, **changes})  # type: ignore[arg-type]


def shadow(evidence: Evidence, step: Step = STEP, policy: Rollout = POLICY) -> Decision:
    """What follows from `evidence` of a shadow."""
    return decide("shadow", step, evidence, policy)


def canary(evidence: Evidence, step: Step = STEP, policy: Rollout = POLICY) -> Decision:
    """What follows from `evidence` of a canary."""
    return decide("canary", step, evidence, policy)


@pytest.mark.parametrize(
    ("look", "verdict", "words"),
    [
        # Enough, and everything within.
        (canary(seen()), "proceed", "0 of 200 could not be answered"),
        (shadow(seen(answered=0)), "proceed", "0 of 200 were labelled differently"),
        (canary(seen(differed=20)), "proceed", "20 of 200 were labelled differently"),
        (canary(seen(latencies=taking(ms2=198, ms50=2))), "proceed", "2 of 200 took over 20 ms"),
        # Too little is never a promotion, however good it looks.
        (canary(Evidence()), "wait", "0 of 200 requests answered"),
        (shadow(Evidence(seconds=59)), "wait", "0 of 200 rows compared"),
        (canary(Evidence(seconds=60)), "inconclusive", "0 of 200 requests answered within 60 s"),
        (shadow(Evidence(seconds=60)), "inconclusive", "0 of 200 rows compared within 60 s"),
        (canary(seen(seconds=61, answered=199)), "inconclusive", "199 of 200"),
        (shadow(seen(seconds=61, compared=199)), "inconclusive", "199 of 200 rows"),
        # The deployer's own requests are no callers.
        (canary(seen(probes=200)), "proceed", ""),
        (shadow(seen(probed=250)), "proceed", ""),
        (canary(seen(probes=160), policy=BUSY), "wait", "40 of 50 requests answered for callers"),
        (canary(seen(probes=150), policy=BUSY), "proceed", ""),
        (shadow(seen(probed=200, seconds=60), policy=BUSY), "inconclusive", "0 of 50 rows compared"),
        # A step lasts its least time.
        (canary(seen(), step=LONG), "wait", "the step lasts 30 s"),
        (canary(seen(seconds=30), step=LONG), "proceed", ""),
        # Surely outside: at once, long before there is evidence enough to go on.
        (canary(Evidence(failed=3, answered=7)), "roll back", "3 of 10 could not be answered"),
        (shadow(Evidence(shadow_failed=3)), "roll back", "3 of 3 could not be answered"),
        (shadow(Evidence(compared=20, differed=12)), "roll back", "12 of 20 were labelled diff"),
        (canary(Evidence(answered=9, latencies=taking(ms50=9))), "roll back", "9 of 9 took over"),
        (shadow(Evidence(latencies=taking(ms50=9))), "roll back", "9 of 9 took over 20 ms"),
        (canary(seen(failed=9), step=LONG), "roll back", "9 of 209 could not be answered"),
        # Over the limit and not surely so: it may come down, as long as there is time.
        (canary(seen(failed=1)), "wait", "1 of 201 could not be answered"),
        (canary(seen(failed=1, seconds=60)), "roll back", "1 of 201 could not be answered"),
        (shadow(seen(differed=25)), "wait", "25 of 200 were labelled differently"),
        (shadow(seen(differed=25, seconds=60)), "roll back", "25 of 200"),
        (canary(seen(latencies=taking(ms2=195, ms50=5))), "wait", "5 of 200 took over 20 ms"),
        (canary(seen(latencies=taking(ms2=195, ms50=5), seconds=99)), "roll back", "5 of 200"),
        # With too little, a few that may be chance decide nothing.
        (canary(Evidence(answered=20, failed=1)), "wait", "20 of 200 requests answered"),
        (canary(Evidence(answered=20, failed=1, seconds=60)), "inconclusive", "20 of 200"),
        # A shadow's requests are none of the canary's, and the other way round.
        (shadow(seen(failed=9)), "proceed", ""),
        (canary(seen(shadow_failed=9)), "proceed", ""),
        # Everything that is surely outside is named.
        (shadow(seen(differed=99, shadow_failed=9)), "roll back", "answered.*; 99 of 200 were"),
    ],
)
def test_what_was_seen_decides(look: Decision, verdict: Verdict, words: str) -> None:
    """Each row is one thing that a step can see."""
    assert look.verdict == verdict
    assert re.search(words, look.reason), look.reason


def test_slow_is_measured_by_the_champion() -> None:
    """Its p99 times the ratio; a quick one's is under the floor, and of few requests there is none."""
    assert slow_from(seen(champion=taking(ms50=300)), POLICY) == pytest.approx(0.15)
    assert slow_from(seen(champion=taking(ms1=300)), POLICY) == 0.02
    assert slow_from(seen(champion=taking(ms50=99)), POLICY) == 0.02


def test_a_p99_is_the_bound_that_99_of_100_keep() -> None:
    """One of a hundred may be slower; beyond the last bucket nothing is known."""
    assert taking(ms2=99, ms50=1).p99() == 0.002
    assert taking(ms2=98, ms50=2).p99() == 0.05
    assert taking(ms2=98, beyond=2).p99() == math.inf
    assert Latencies().p99() == 0


def test_only_what_surely_took_longer_is_over() -> None:
    """A bucket that the bound lies within may hold what was quicker."""
    assert taking(ms20=5, ms50=7, beyond=1).over(0.02) == 8
    assert taking(ms20=5, ms50=7, beyond=1).over(0.03) == 1


@given(st.integers(1, 2_000), st.floats(0.0001, 0.9), st.data())
def test_the_tail_is_the_binomial_distributions(of: int, share: float, data: st.DataObject) -> None:
    """As SciPy has it, wherever it is used: above the expectation."""
    found = data.draw(st.integers(0, of))
    expected = 1.0 if found <= share * of else float(binom.sf(found - 1, of, share))
    assert tail(found, of, share) == pytest.approx(expected, rel=1e-6, abs=1e-12)


@given(st.integers(0, 500), st.integers(0, 500), st.floats(0, 200))
def test_whatever_is_seen_more_failures_never_help(answered: int, failed: int, seconds: float) -> None:
    """From proceed over waiting to rolling back, never the other way."""
    order = ["proceed", "wait", "inconclusive", "roll back"]
    evidence = seen(answered=answered, failed=failed, seconds=seconds, latencies=taking(ms2=answered))
    worse = seen(answered=answered, failed=failed + 1, seconds=seconds, latencies=taking(ms2=answered))
    verdicts = [decide("canary", STEP, item, POLICY).verdict for item in (evidence, worse)]
    assert sorted(verdicts, key=order.index) == verdicts


def test_one_look_in_ten_thousand_is_wrong_about_a_version_at_its_limit() -> None:
    """So often a version that differs exactly as often as allowed is surely outside."""
    share, of = POLICY.disagreement, 200
    least = next(found for found in range(of) if found > share * of and tail(found, of, share) < ALPHA)
    assert float(binom.sf(least - 1, of, share)) < ALPHA
