"""What was tried is kept whole, and a person can close the circuit."""

import dataclasses
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from contract.errors import ConfigError, FlightlineError
from monitoring.decision import Attempt, rejections
from pipelines import retrain
from pipelines.building import attempts
from pipelines.building.runs import under_way
from pipelines.machine.settings import Settings

pytestmark = pytest.mark.unit

START = datetime(2013, 5, 1, tzinfo=UTC)


def attempt(day: int, outcome: str = "kept") -> Attempt:
    """A retraining so many days after the start."""
    return Attempt(START + timedelta(days=day), f"candidate-{day}", outcome)


@pytest.fixture
def settings(tmp_path) -> Settings:
    """A `var` in which nothing happened."""
    return Settings.from_environment({"FLIGHTLINE_VAR": str(tmp_path), "FLIGHTLINE_ACTOR": "tester"})


def file(settings: Settings):
    """Where attempts are kept."""
    return settings.var / "monitoring" / "iris" / "attempts.jsonl"


def test_attempts_are_read_back_in_order_and_kept_once(settings):
    """An interrupted retraining that is continued is one attempt."""
    for one in (attempt(1), attempt(2, "promoted"), attempt(1)):
        attempts.add("iris", one, settings)
    assert attempts.state("iris", settings).attempts == (attempt(1), attempt(2, "promoted"))
    assert attempts.state("flights", settings).attempts == ()


@pytest.mark.parametrize("kept", [1, 20, -1])
def test_a_line_that_a_crash_tore_is_no_attempt_and_harms_none(settings, kept):
    """Neither the lines before it nor the one that is added next."""
    attempts.add("iris", attempt(1), settings)
    whole = file(settings).read_bytes()
    attempts.add("iris", attempt(2), settings)
    torn = file(settings).read_bytes().removeprefix(whole)[:kept]
    file(settings).write_bytes(whole + torn)
    assert attempts.state("iris", settings).attempts == (attempt(1),)
    attempts.add("iris", attempt(3), settings)
    assert attempts.state("iris", settings).attempts == (attempt(1), attempt(3))
    assert file(settings).read_bytes().count(b"\n") == 2


def test_a_whole_line_of_something_else_is_refused(settings):
    """Edited by hand: nobody guesses what was meant."""
    attempts.add("iris", attempt(1), settings)
    file(settings).write_bytes(b'{"started": 1}\n' + file(settings).read_bytes())
    with pytest.raises(ConfigError, match=r"attempts\.jsonl"):
        attempts.state("iris", settings)


def test_a_reset_closes_the_circuit_until_new_rejections(settings):
    """It forgives what was, also where the clock is that of a replay, and nothing that comes later."""
    for day in (1, 2, 3):
        attempts.add("iris", attempt(day), settings)
    assert rejections(attempts.state("iris", settings)) == 3
    assert attempts.reset("iris", settings) == 3
    assert rejections(attempts.state("iris", settings)) == 0
    attempts.add("iris", attempt(4, "failed"), settings)
    assert rejections(attempts.state("iris", settings)) == 1
    note = msgspec.json.decode((settings.var / "monitoring" / "iris" / "reset.json").read_bytes())
    assert note == {"reset_at": "2013-05-04T00:00:00Z", "by": "tester"}


def test_a_reset_without_rejections_changes_nothing(settings):
    """There is nothing to forgive."""
    assert attempts.reset("iris", settings) == 0
    assert not (settings.var / "monitoring" / "iris" / "reset.json").exists()


def test_a_challenger_that_staging_refused_counts_as_a_rejection(settings):
    """What the gates accepted and staging refuses replaced no champion; passed after all, it may."""
    attempts.add("iris", attempt(1, "failed"), settings)
    attempts.add("iris", attempt(2, "promoted"), settings, "digest-2")
    attempts.staged("iris", "digest-2", settings, passed=True)
    assert rejections(attempts.state("iris", settings)) == 0
    for _ in range(2):
        attempts.staged("iris", "digest-2", settings, passed=False)
    assert attempts.state("iris", settings).attempts == (attempt(1, "failed"), attempt(2, "failed"))
    assert rejections(attempts.state("iris", settings)) == 2
    attempts.staged("iris", "digest-2", settings, passed=True)
    assert attempts.state("iris", settings).attempts == (attempt(1, "failed"), attempt(2, "promoted"))


def test_staging_says_nothing_about_what_no_retraining_made(settings):
    """A first version, or another bundle: no attempt is invented or changed."""
    attempts.staged("iris", "digest-1", settings, passed=False)
    assert not file(settings).exists()
    attempts.add("iris", attempt(1, "failed"), settings)
    attempts.add("iris", attempt(2, "promoted"), settings, "digest-2")
    attempts.staged("iris", "digest-1", settings, passed=False)
    attempts.staged("iris", "", settings, passed=True)
    assert attempts.state("iris", settings).attempts == (attempt(1, "failed"), attempt(2, "promoted"))


def test_the_same_attempt_made_again_after_a_failure_is_two(settings):
    """Both took their part of the budget."""
    attempts.add("iris", attempt(1, "failed"), settings)
    attempts.add("iris", attempt(1, "promoted"), settings, "digest-1")
    assert len(attempts.state("iris", settings).attempts) == 2


def test_the_command_resets_and_trains_nothing(settings, monkeypatch, capsys):
    """`retrain MODEL --reset`, as the runbook says."""
    attempts.add("iris", attempt(1), settings)
    monkeypatch.setenv("FLIGHTLINE_VAR", str(settings.var))
    monkeypatch.setattr(retrain, "build", None)
    assert retrain.main(["iris", "--reset"]) == 0
    assert "1 rejections in a row no longer count" in capsys.readouterr().out
    assert rejections(attempts.state("iris", settings)) == 0


def test_a_retraining_under_way_is_part_of_the_state(settings):
    """So that the decision waits for it."""
    assert attempts.state("iris", settings).in_flight == ""
    with under_way("flights as of 2013-05-01", settings):
        assert attempts.state("iris", settings).in_flight == "flights as of 2013-05-01"


def test_a_build_that_fails_is_recorded_as_failed(settings, monkeypatch):
    """It counts against the budget, and is no reason never to try the same again."""

    def fail(*_):
        raise FlightlineError("no", "yes", "Mend it")

    monkeypatch.setattr(retrain, "build", fail)
    monkeypatch.setattr(retrain, "candidate", lambda *_: "candidate-1")
    with pytest.raises(FlightlineError, match="Mend it"):
        retrain.retrain("iris", START, settings, say=lambda _: None)
    assert attempts.state("iris", settings).attempts == (Attempt(START, "candidate-1", "failed"),)
    assert attempts.state("iris", settings).in_flight == ""


@pytest.mark.parametrize(
    ("outcome", "recorded", "registers"),
    [("accepted", "promoted", 1), ("kept", "kept", 0), ("failed", "failed", 0)],
)
def test_the_outcome_is_recorded_once_it_is_carried_out(settings, monkeypatch, outcome, recorded, registers):
    """Promoted is the word for accepted and registered, in this order."""
    seen = []

    @dataclasses.dataclass
    class Stand:
        """Whatever has an outcome, a version and artifacts."""

        outcome: str = ""
        digest: str = "digest-1"
        version: str = "2"
        artifacts: str = ""

    def register(*_):
        seen.append(attempts.state("iris", settings).attempts)
        return Stand()

    monkeypatch.setattr(retrain, "candidate", lambda *_: "candidate-1")
    for name in ("build", "track"):
        monkeypatch.setattr(retrain, name, lambda *_: Stand())
    monkeypatch.setattr(retrain, "qualify", lambda *_: Stand(outcome))
    monkeypatch.setattr(retrain, "note", lambda *_: None)
    monkeypatch.setattr(retrain, "register", register)
    found = retrain.retrain("iris", START, settings, say=lambda _: None)
    assert found.version == ("2" if registers else "")
    assert seen == [()] * registers
    assert attempts.state("iris", settings).attempts == (Attempt(START, "candidate-1", recorded),)
