"""What the demonstration shows where no month's challenger earned it, and where its candidate does not."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from contract.errors import ConfigError
from contract.verdict import Verdict
from pipelines import demo
from pipelines.building.runs import Run
from pipelines.demonstration import story
from pipelines.demonstration.declared import DECLARED, Declared, Trial, read_declared
from pipelines.demonstration.services import Services
from pipelines.machine.settings import Settings
from pipelines.qualify import Qualified
from pipelines.retrain import Retrained
from tests.journeys.conftest import ROOT

pytestmark = pytest.mark.unit

TRIALS = Declared(
    candidate=Trial({"train.l2_regularization": 2.0}, "an experiment"),
    broken=Trial({"train.max_iter": 1}, "one tree is no model"),
)
KEPT = ("kept", "", ("G05 not worse: it is worse",))
ACCEPTED = ("accepted", "3", ())
FAILED = ("failed", "", ("G03 quality: log_loss is 0.7",))


class World:
    """Stands where registry and services would be: what was retrained, staged and promoted, in order."""

    def __init__(self, months: tuple, candidate: tuple) -> None:
        self.months, self.candidate = list(months), candidate
        self.done: list[str] = []

    def retrain(self, model, as_of, settings, changes=None):  # noqa: ARG002
        """The outcome that was planned for this month, for the candidate or for the broken model."""
        if changes is None:
            outcome, version, reasons = self.months.pop(0)
        else:
            outcome, version, reasons = self.candidate if "train.max_iter" not in changes else FAILED
        run = Run("run", Path("run"))
        compared = Verdict("G05", "not worse", "pass", "compared", "", "")
        return Retrained(model, run, Qualified(model, "d", outcome, "c", reasons, (compared,)), version)

    def deploy_staging(self, model, settings, version=None, **_):  # noqa: ARG002
        """It is staged."""
        self.done.append(f"stage {version or 'challenger'}")

    def promote(self, model, settings, version=None, **_):  # noqa: ARG002
        """It is live."""
        self.done.append(f"promote {version or 'staged'}")
        return SimpleNamespace(version=version or "2")


@pytest.fixture
def play(tmp_path, monkeypatch):
    """Play the demonstration's last part, from the months on, in a planned world."""

    def run(months: tuple, candidate: tuple) -> tuple[bool, list[demo.Row], World]:
        world = World(months, candidate)
        for name in ("retrain", "deploy_staging", "promote"):
            monkeypatch.setattr(story, name, getattr(world, name))
        monkeypatch.setattr(story, "replay", lambda *_, **__: SimpleNamespace(rows=1))
        found = SimpleNamespace(report="", drift="alarm: x", performance="fine: x", action="retrain")
        monkeypatch.setattr(story, "monitor", lambda *_: found)
        settings = Settings.from_environment({"FLIGHTLINE_VAR": str(tmp_path)})
        told = story.Demo(settings, Services(settings), TRIALS, live="1")
        monkeypatch.setattr(told, "_trained_as_of", lambda: story.MONTHS[0])
        steps = demo.steps

        def last_part(given: story.Demo, *, short: bool) -> tuple[demo.Step, ...]:
            whole = steps(given, short=short)
            begin = next(at for at, step in enumerate(whole) if step.until_earned)
            end = next(at for at, step in enumerate(whole) if "break a model" in step.name)
            return whole[begin:end]

        monkeypatch.setattr(demo, "steps", last_part)
        rows: list[demo.Row] = []
        return demo.run(told, rows), rows, world

    return run


def test_a_promotion_is_shown_where_every_challenger_was_kept(play):
    """That the champion stays is printed and no failure; the candidate goes on alone."""
    passed, rows, world = play((KEPT, KEPT, KEPT), ACCEPTED)
    assert passed
    assert [row.passed for row in rows] == [True] * 5
    assert all("champion kept" in row.result for row in rows[:3])
    assert rows[3].result == "no month's challenger earned it: the champion, flights 1, is kept"
    assert "flights 1 → 3" in rows[4].result
    assert world.done == ["stage 3", "promote 3"]


def test_a_challenger_that_earned_it_is_promoted_and_the_candidate_after_it(play):
    """The months end with the first that was accepted."""
    passed, rows, world = play((KEPT, ("accepted", "2", ())), ACCEPTED)
    assert passed
    assert [row.step.partition(":")[0] for row in rows[:2]] == ["April", "May"]
    assert "flights 1 → 2" in rows[2].result
    assert "flights 2 → 3" in rows[3].result
    assert world.done == ["stage challenger", "promote staged", "stage 3", "promote 3"]


@pytest.mark.parametrize(("outcome", "gate"), [(KEPT, "G05"), (FAILED, "G03")])
def test_a_candidate_that_does_not_earn_it_fails_its_step_and_nothing_is_promoted(play, outcome, gate):
    """The sentence names the gate; later steps are not begun."""
    passed, rows, world = play((KEPT, KEPT, KEPT), outcome)
    assert not passed
    assert rows[-1].step == "try a declared candidate"
    assert not rows[-1].passed
    assert gate in rows[-1].result
    assert world.done == []


def test_a_candidate_that_is_the_champion_itself_shows_nothing(play):
    """A promotion from a version to itself is none."""
    passed, rows, world = play((KEPT, KEPT, KEPT), ("accepted", "1", ()))
    assert not passed
    assert "is the champion itself" in rows[-1].result
    assert world.done == []


def test_the_shipped_trials_change_something_of_the_shipped_parameters():
    """One is to be promoted, the other to fail."""
    declared = read_declared("flights", ROOT / DECLARED, ROOT / "params.yaml")
    assert declared.candidate.changes != declared.broken.changes


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("candidate:", "candidat:", "unknown key 'candidat', did you mean 'candidate'?"),
        ("l2_regularization", "l2_regularisation", "did you mean 'train.l2_regularization'?"),
        ("train.max_iter: 1", "train.max_iter: few", "broken.train, max_iter: Expected `int`, got `str`"),
        ("train.max_iter: 1", "train.max_iter: 400", "broken changes nothing of"),
        ("reason: one tree is no model", "reason: ''", "broken: the reason is empty"),
        ("  reason: one tree is no model\n", "", "key 'reason' is missing"),
        ("train.max_iter: 1", "model: 1", "unknown parameter 'model'"),
    ],
)
def test_a_trial_that_cannot_be_meant_is_refused(tmp_path, old, new, said):
    """Before anything runs, and with the place."""
    text = (ROOT / DECLARED).read_text()
    assert old in text
    path = tmp_path / "demo.yaml"
    path.write_text(text.replace(old, new))
    with pytest.raises(ConfigError) as refused:
        read_declared("flights", path, ROOT / "params.yaml")
    assert said in str(refused.value)


def test_a_misspelt_trial_ends_the_demonstration_before_its_world_is_emptied(tmp_path, monkeypatch):
    """Nothing is stopped, removed or started."""
    settings = replace(Settings.from_environment({"FLIGHTLINE_VAR": str(tmp_path / "demo")}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "fresh_world", lambda _: pytest.fail("the world was emptied"))
    with pytest.raises(ConfigError, match="cannot be read"):
        demo.tell(settings, keep=False, short=False)
