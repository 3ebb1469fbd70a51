"""The decision as a table: every branch, every boundary, and the order between them."""

import dataclasses
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.decision import Attempt, Decision, Evidence, State, decide, rejections
from tests.monitoring.worlds import RETRAIN

pytestmark = pytest.mark.unit

NOW = datetime(2013, 5, 1, tzinfo=UTC)
QUIET = Evidence(
    now=NOW,
    trained=NOW - timedelta(days=30),
    candidate="data-1",
    new_labels=1_000,
    performance="fine",
    performance_reason="log loss as before",
    drift="quiet",
    drift_reason="no feature drifted",
)
WORSE = dataclasses.replace(QUIET, performance="worse", performance_reason="gap 0.09")


def evidence(**changes) -> Evidence:
    """Quiet evidence with some changes."""
    return dataclasses.replace(QUIET, **changes)


def test_one_window_is_not_called_a_row():
    """Singular where the policy is content with one."""
    content = msgspec.structs.replace(RETRAIN, drift_windows=1)
    found = decide(State(), evidence(drift="alarm", drift_windows=1, drift_reason="much"), content)
    assert found == Decision("retrain", "drift in this window: much")


def ago(days: float, outcome: str = "promoted", candidate: str = "data-0") -> Attempt:
    """A retraining that started some days ago."""
    return Attempt(NOW - timedelta(days=days), candidate, outcome)


@pytest.mark.parametrize(
    ("changes", "action", "reason"),
    [
        # One cause at a time, and the value just below it.
        ({}, "keep", "no cause to retrain: log loss as before; no feature drifted"),
        ({"problems": ("temp is missing",)}, "quarantine", "bad data: temp is missing"),
        ({"new_labels": 99}, "insufficient", "99 new labels since the last training, 100 are needed"),
        ({"new_labels": 100}, "keep", "no cause"),
        ({"performance": "insufficient", "drift": "insufficient"}, "insufficient", "nothing can be judged"),
        ({"performance": "insufficient"}, "keep", "no cause"),
        ({"drift": "insufficient"}, "keep", "no cause"),
        ({"performance": "worse", "performance_reason": "gap 0.09"}, "retrain", "performance: gap 0.09"),
        ({"drift": "alarm", "drift_windows": 2}, "retrain", "drift in 2 windows in a row"),
        ({"drift": "alarm", "drift_windows": 1}, "keep", "no cause"),
        ({"drift": "quiet", "drift_windows": 2}, "keep", "no cause"),
        ({"new_labels": 10_000}, "retrain", "volume: 10000 new labels (from 10000)"),
        ({"new_labels": 9_999}, "keep", "no cause"),
        ({"trained": NOW - timedelta(days=60)}, "retrain", "age: 60.0 days"),
        ({"trained": NOW - timedelta(days=59.9)}, "keep", "no cause"),
        # The order: the earlier wins.
        ({"problems": ("bad",), "new_labels": 0, "performance": "worse"}, "quarantine", "bad data"),
        (
            {"new_labels": 0, "performance": "worse", "trained": NOW - timedelta(days=99)},
            "insufficient",
            "0 new",
        ),
        (
            {"performance": "insufficient", "drift": "insufficient", "new_labels": 10_000},
            "insufficient",
            "nothing can be judged",
        ),
        ({"performance": "worse", "drift": "alarm", "drift_windows": 2}, "retrain", "performance"),
        ({"drift": "alarm", "drift_windows": 2, "new_labels": 10_000}, "retrain", "drift"),
        ({"new_labels": 10_000, "trained": NOW - timedelta(days=60)}, "retrain", "volume"),
    ],
)
def test_evidence_decides_in_order(changes, action, reason):
    """Health, enough evidence, performance, drift, volume, age."""
    decision = decide(State(), evidence(**changes), RETRAIN)
    assert decision.action == action
    assert decision.reason.startswith(reason)


@pytest.mark.parametrize(
    ("state", "action", "reason"),
    [
        (State(), "retrain", "performance: gap 0.09"),
        (State(in_flight="run-7"), "wait", "retraining run-7 is in flight"),
        # The cooldown is two days.
        (State(attempts=(ago(1.9),)), "wait", "cooldown: 1.9 of 2 days"),
        (State(attempts=(ago(2),)), "retrain", "performance"),
        # It doubles with every rejection in a row.
        (State(attempts=(ago(3.9, "kept"),)), "wait", "back-off after 1 rejections: 3.9 of 4 days"),
        (State(attempts=(ago(4, "kept"),)), "retrain", "performance"),
        (State(attempts=(ago(7.9, "kept"), ago(20, "failed"))), "wait", "back-off after 2 rejections"),
        (State(attempts=(ago(8, "kept"), ago(20, "failed"))), "retrain", "performance"),
        # A promotion ends the row.
        (State(attempts=(ago(2, "promoted"), ago(9, "kept"))), "retrain", "performance"),
        # The third rejection opens the circuit, however long ago, until a person resets it.
        (
            State(attempts=(ago(90, "kept"), ago(95, "kept"), ago(99, "failed"))),
            "wait",
            "the circuit is open after 3",
        ),
        (
            State(
                attempts=(ago(90, "kept"), ago(95, "kept"), ago(99, "failed")),
                reset_at=NOW - timedelta(days=1),
            ),
            "retrain",
            "performance",
        ),
        # The same candidate again, unless it only failed.
        (State(attempts=(ago(30, "promoted", "data-1"),)), "wait", "the same data, code and parameters"),
        (State(attempts=(ago(30, "kept", "data-1"),)), "wait", "the same data, code and parameters"),
        (State(attempts=(ago(30, "failed", "data-1"),)), "retrain", "performance"),
        # Three in seven days are the budget.
        (
            State(attempts=(ago(2), ago(4.5), ago(6.9))),
            "wait",
            "3 retrainings in the last seven days (at most 3)",
        ),
        (State(attempts=(ago(2), ago(4.5), ago(7))), "retrain", "performance"),
        # The order: the earlier is named.
        (State(in_flight="run-7", attempts=(ago(1, "kept"),) * 3), "wait", "retraining run-7"),
        (State(attempts=(ago(1, "kept", "data-1"),) * 3), "wait", "the circuit is open"),
        (State(attempts=(ago(1, "kept", "data-1"),)), "wait", "the same data"),
        (State(attempts=(ago(1), ago(2), ago(3))), "wait", "cooldown"),
        # A clock that was ahead is no licence.
        (State(attempts=(ago(-1),)), "wait", "cooldown"),
    ],
)
def test_state_holds_back_a_retraining_that_has_a_cause(state, action, reason):
    """In flight, circuit, deduplication, back-off and cooldown, budget; the cause is told as well."""
    decision = decide(state, WORSE, RETRAIN)
    assert decision.action == action
    assert decision.reason.startswith(reason)
    assert "gap 0.09" in decision.reason


@pytest.mark.parametrize(
    ("changes", "action"),
    [({}, "keep"), ({"problems": ("bad",)}, "quarantine"), ({"new_labels": 0}, "insufficient")],
)
def test_state_matters_only_when_there_is_a_cause(changes, action):
    """A retraining in flight does not hide bad data or a quiet window."""
    assert decide(State(in_flight="run-7"), evidence(**changes), RETRAIN).action == action


def test_volume_and_age_can_be_switched_off():
    """Null in the policy is never."""
    off = msgspec.structs.replace(RETRAIN, volume_labels=None, max_age_days=None)
    old = evidence(new_labels=10**9, trained=NOW - timedelta(days=10_000))
    assert decide(State(), old, off).action == "keep"


def test_attempts_count_in_any_order():
    """The log they come from may be sorted either way."""
    attempts = (ago(1, "kept"), ago(2, "failed"), ago(3, "promoted"), ago(4, "kept"))
    assert rejections(State(attempts=attempts)) == rejections(State(attempts=attempts[::-1])) == 2


moments = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
attempts = st.builds(
    Attempt,
    started=moments,
    candidate=st.sampled_from("ab"),
    outcome=st.sampled_from(["promoted", "kept", "failed"]),
)
states = st.builds(
    State,
    in_flight=st.sampled_from(["", "run"]),
    attempts=st.lists(attempts, max_size=80).map(tuple),
    reset_at=st.none() | moments,
)
facts = st.builds(
    Evidence,
    now=moments,
    trained=moments,
    candidate=st.sampled_from("ab"),
    new_labels=st.integers(0, 20_000),
    problems=st.lists(st.just("bad"), max_size=1).map(tuple),
    performance=st.sampled_from(["worse", "fine", "insufficient"]),
    performance_reason=st.text(max_size=5),
    drift=st.sampled_from(["alarm", "quiet", "insufficient"]),
    drift_reason=st.text(max_size=5),
    drift_windows=st.integers(0, 5),
)


@settings(max_examples=300, deadline=None)
@given(states, facts)
def test_every_situation_has_a_decision_and_a_reason(state, known):
    """The function is total, says the same again, and keeps its promises."""
    decision = decide(state, known, RETRAIN)
    assert isinstance(decision, Decision)
    assert decision == decide(state, known, RETRAIN)
    assert decision.reason
    assert (decision.action == "quarantine") == bool(known.problems)
    if decision.action == "retrain":
        assert not state.in_flight
        assert rejections(state) < RETRAIN.max_rejections
        assert known.new_labels >= RETRAIN.min_new_labels
