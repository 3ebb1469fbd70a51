"""Whether to retrain now: one pure function of what happened, what is known and what is allowed."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from monitoring.policy import RetrainPolicy
from monitoring.statistics import age_days

Action = Literal["quarantine", "insufficient", "wait", "keep", "retrain"]
# promoted: accepted and registered, the candidate for promotion; kept: not shown to be as good as the
# champion; failed: it could not be built, did not pass its own gates, or was refused by staging.
Outcome = Literal["promoted", "kept", "failed"]
_WEEK = timedelta(days=7)


@dataclass(frozen=True)
class Attempt:
    """A retraining that has ended: its challenger was accepted and registered, or not."""

    started: datetime
    candidate: str  # hash of data, code and parameters
    outcome: Outcome


@dataclass(frozen=True)
class State:
    """What has been done about a model so far."""

    in_flight: str = ""  # id of the retraining that runs now, or empty
    attempts: tuple[Attempt, ...] = ()  # in any order
    reset_at: datetime | None = None  # attempts up to here no longer count: a person closed the circuit


@dataclass(frozen=True)
class Evidence:
    """What is known at the moment `now`."""

    now: datetime
    trained: datetime  # the champion's `as_of`
    candidate: str  # hash of the data, code and parameters a retraining would use now
    new_labels: int  # labelled rows that arrived after `trained`
    problems: tuple[str, ...] = ()  # sentences of `monitoring.health`
    performance: Literal["worse", "fine", "insufficient"] = "insufficient"
    performance_reason: str = ""
    drift: Literal["alarm", "quiet", "insufficient"] = "insufficient"
    drift_reason: str = ""
    drift_windows: int = 0  # alarming checks in a row, this one included


@dataclass(frozen=True)
class Decision:
    """What to do, and the sentence that says why."""

    action: Action
    reason: str


def decide(state: State, evidence: Evidence, policy: RetrainPolicy) -> Decision:
    """Data health, then enough evidence, then a cause to retrain, then whatever holds it back."""
    if evidence.problems:
        return Decision("quarantine", "bad data: " + "; ".join(evidence.problems))
    if evidence.new_labels < policy.min_new_labels:
        return Decision(
            "insufficient",
            f"{evidence.new_labels} new labels since the last training, {policy.min_new_labels} are needed",
        )
    if evidence.performance == "insufficient" and evidence.drift == "insufficient":
        return Decision(
            "insufficient",
            _because("nothing can be judged", evidence.performance_reason, evidence.drift_reason),
        )
    cause = next(_causes(evidence, policy), None)
    if cause is None:
        kept = _because("no cause to retrain", evidence.performance_reason, evidence.drift_reason)
        return Decision("keep", kept)
    hindrance = next(_hindrances(state, evidence, policy), None)
    if hindrance is not None:
        return Decision("wait", f"{hindrance} (cause: {cause})")
    return Decision("retrain", cause)


def rejections(state: State) -> int:
    """How many retrainings in a row did not replace the champion, since the circuit was last reset."""
    count = 0
    for attempt in sorted(state.attempts, key=lambda item: item.started, reverse=True):
        is_reset = state.reset_at is not None and attempt.started <= state.reset_at
        if attempt.outcome == "promoted" or is_reset:
            break
        count += 1
    return count


def _causes(evidence: Evidence, policy: RetrainPolicy) -> Iterator[str]:
    if evidence.performance == "worse":
        yield _because("performance", evidence.performance_reason)
    if evidence.drift == "alarm" and evidence.drift_windows >= policy.drift_windows:
        windows = evidence.drift_windows
        span = "this window" if windows == 1 else f"{windows} windows in a row"
        yield _because(f"drift in {span}", evidence.drift_reason)
    if policy.volume_labels is not None and evidence.new_labels >= policy.volume_labels:
        yield f"volume: {evidence.new_labels} new labels (from {policy.volume_labels})"
    age = age_days(evidence.trained, evidence.now)
    if policy.max_age_days is not None and age >= policy.max_age_days:
        yield f"age: {age:.1f} days since the last training (from {policy.max_age_days:g})"


def _hindrances(state: State, evidence: Evidence, policy: RetrainPolicy) -> Iterator[str]:
    if state.in_flight:
        yield f"retraining {state.in_flight} is in flight"
    refused = rejections(state)
    if refused >= policy.max_rejections:
        yield f"the circuit is open after {refused} rejections in a row, a person has to reset it"
    # A failure may have been the machine's, so it may be tried again; a judged challenger would be the same.
    if any(item.candidate == evidence.candidate and item.outcome != "failed" for item in state.attempts):
        yield "the same data, code and parameters were tried before"
    if state.attempts:
        last = max(attempt.started for attempt in state.attempts)
        # An exponent of 60 already waits longer than a calendar: larger ones would only overflow.
        days = policy.cooldown_days * 2.0 ** min(refused, 60)
        past = age_days(last, evidence.now)
        if past < days:
            word = f"back-off after {refused} rejections" if refused else "cooldown"
            yield f"{word}: {past:.1f} of {days:g} days since the last retraining"
    week = sum(attempt.started > evidence.now - _WEEK for attempt in state.attempts)
    if week >= policy.weekly_budget:
        yield f"{week} retrainings in the last seven days (at most {policy.weekly_budget})"


def _because(what: str, *reasons: str) -> str:
    return ": ".join([what, *filter(None, ["; ".join(filter(None, reasons))])])
