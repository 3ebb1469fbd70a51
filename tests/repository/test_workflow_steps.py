"""The commands that exist for workflows: what they hand on, what they say, and what they refuse."""

import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from contract.errors import ConfigError, FlightlineError
from pipelines import challenger, digest, summary
from pipelines.dispatch import Outcome, record
from pipelines.machine import workflow
from pipelines.qualify import Qualified

pytestmark = pytest.mark.unit

TESTED, OTHER = "a" * 64, "b" * 64


@pytest.fixture
def job(tmp_path, monkeypatch):
    """A job on GitHub with a world of its own; what it wrote is read with `read`."""
    files = {"outputs": tmp_path / "outputs", "summary": tmp_path / "summary"}
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_OUTPUT", str(files["outputs"]))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(files["summary"]))
    monkeypatch.setenv("FLIGHTLINE_VAR", str(tmp_path / "var"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def read(name: str) -> str:
        return files[name].read_text() if files[name].exists() else ""

    return SimpleNamespace(read=read, var=tmp_path / "var")


@pytest.fixture
def staged(monkeypatch):
    """A registry whose alias `staging` is on a version; its digest can be set."""
    version = SimpleNamespace(version="3", digest=TESTED)
    monkeypatch.setattr(digest, "connect", lambda _: SimpleNamespace(by_alias=lambda *_: version))
    return version


@pytest.mark.usefixtures("staged")
def test_the_tested_digest_is_handed_on(job, capsys):
    """As an output for the next job, in the summary, and as JSON."""
    assert digest.main(["flights"]) == 0
    assert job.read("outputs") == f"digest={TESTED}\n"
    assert TESTED in job.read("summary")
    capsys.readouterr()
    assert digest.main(["flights", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"model": "flights", "version": "3", "digest": TESTED}


@pytest.mark.usefixtures("staged")
def test_the_approved_bundle_passes(job):
    """The same digest, and the summary says so."""
    assert digest.main(["flights", "--expect", TESTED]) == 0
    assert "is the approved one" in job.read("summary")


@pytest.mark.usefixtures("staged")
@pytest.mark.parametrize(
    ("expected", "sentence"),
    [
        (OTHER, "staging has tested flights aaaaaaaaaaaa; expected bbbbbbbbbbbb, which was approved"),
        ("", "the approved digest of flights is ''"),
        (TESTED[:12], "the approved digest of flights is 'aaaaaaaaaaaa'"),
        (TESTED.upper(), "64 hex digits"),
    ],
)
def test_another_bundle_than_the_approved_one_is_refused(job, expected, sentence):
    """Neither another digest, nor a part of one, nor an approval of nothing lets it through."""
    with pytest.raises(FlightlineError, match=sentence):
        digest.main(["flights", f"--expect={expected}"])
    assert job.read("outputs") == ""


@pytest.mark.usefixtures("job")
def test_a_version_without_a_digest_is_refused(staged):
    """Somebody registered it by hand."""
    staged.digest = ""
    with pytest.raises(FlightlineError, match="has the digest ''"):
        digest.main(["flights"])


@pytest.fixture
def judged(monkeypatch):
    """Building, judging and registering replaced; `done` lists what was called, `outcome` is the verdict."""
    state = SimpleNamespace(outcome="accepted", done=[], as_of=None)

    def found() -> Qualified:
        return Qualified("flights", TESTED, state.outcome, OTHER, ("G05 champion: not as good",), ())

    def retrain(model, as_of, settings):  # noqa: ARG001
        state.done.append("retrain")
        state.as_of = as_of
        return SimpleNamespace(qualified=found())

    monkeypatch.setattr(challenger, "retrain", retrain)
    monkeypatch.setattr(challenger, "track", lambda *_: state.done.append("track"))
    monkeypatch.setattr(challenger, "qualify", lambda *_: (state.done.append("qualify"), found())[1])
    monkeypatch.setattr(challenger, "note", lambda *_: state.done.append("note"))
    monkeypatch.setattr(challenger, "register", lambda *_: state.done.append("register"))
    return state


@pytest.mark.parametrize(
    ("outcome", "code", "output", "words"),
    [
        ("accepted", 0, "accepted=true", "accepted and registered"),
        ("kept", 0, "accepted=false", "champion kept, nothing is to be delivered"),
        ("failed", 1, "accepted=false", "failed"),
    ],
)
def test_a_kept_champion_is_green_and_stops_the_delivery(job, judged, outcome, code, *, output, words):
    """Only a failed gate is red; whether there is something to deliver is an output."""
    judged.outcome = outcome
    assert challenger.main(["flights"]) == code
    assert judged.done == ["track", "qualify", "note", *(["register"] if outcome == "accepted" else [])]
    assert challenger.main(["flights", "--as-of", "2013-05-01"]) == code
    assert (judged.done[-1], judged.as_of) == ("retrain", datetime(2013, 5, 1, tzinfo=UTC))
    assert job.read("outputs") == f"{output}\n" * 2
    assert job.read("summary").count(words) == 2
    assert "- G05 champion: not as good" in job.read("summary")


def test_a_check_without_state_says_that_it_was_none(job, capsys):
    """A runner that keeps nothing is not green in silence."""
    assert summary.main(["flights"]) == 0
    assert "::warning title=nothing was monitored::" in capsys.readouterr().out
    assert "flights was not checked and no alarm can come from here" in job.read("summary")
    assert "FLIGHTLINE_RUNNER" in job.read("summary")


@pytest.mark.parametrize(
    ("action", "warned"), [("quarantine", True), ("retrain", True), ("keep", False), ("wait", False)]
)
def test_a_decision_is_said_and_an_alarm_is_a_warning(job, capsys, action, warned):
    """Whoever looks at the list of runs sees that there was one."""
    job.var.mkdir()
    (job.var / "ledger.jsonl").touch()
    record(job.var, Outcome(model="flights", action=action, reason="because", as_of="2013-05-01"))
    assert summary.main(["flights"]) == 0
    assert f"flights as of 2013-05-01: {action} — because" in job.read("summary")
    assert ("::warning" in capsys.readouterr().out) is warned


def test_a_check_that_came_to_no_decision_is_no_success(job):
    """State is there, but monitoring failed before it decided."""
    job.var.mkdir()
    (job.var / "ledger.jsonl").touch()
    with pytest.raises(ConfigError, match="nothing was decided"):
        summary.main(["flights"])


def test_an_output_cannot_set_another_one(tmp_path):
    """A line break in a value would start the next output."""
    variables = {"GITHUB_OUTPUT": str(tmp_path / "outputs")}
    for name, value in (("accepted", "false\naccepted=true"), ("a b", "x"), ("", "x")):
        with pytest.raises(ConfigError, match="a name and one line"):
            workflow.output(name, value, variables)
    assert not Path(variables["GITHUB_OUTPUT"]).exists()


def test_outside_a_workflow_only_the_words_are_printed(capsys):
    """Nothing is written, and nothing looks like a command to a runner."""
    workflow.output("digest", TESTED, {})
    workflow.warning("a title", "a text", {})
    assert capsys.readouterr().out == "**a title**: a text\n"
