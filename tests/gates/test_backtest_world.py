"""The backtest's trainings are the pipeline's; monitoring and qualification believe its world."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from contract.errors import FlightlineError
from monitoring.decision import State
from pipelines.backtesting.trainings import Data, Plan, Trained, train
from pipelines.backtesting.world import World
from pipelines.building import attempts
from pipelines.building.artifacts import Artifacts, read_json
from pipelines.building.config import params
from pipelines.building.facts import Facts
from pipelines.building.sources import read_sources
from pipelines.delivery.champion import champion
from tests.gates.workshop import MODEL, Workshop
from training import model as models
from training.features import examples
from training.gates.verdict import Evidence
from training.model import AT, LABEL, LABEL_AT
from training.validation import check_all


@pytest.fixture
def later(uncrowned, monkeypatch):
    """The sample's folder, and data that go on for a week after its moment."""
    monkeypatch.chdir(uncrowned.folder)
    model = models.load(MODEL)
    as_of = params(MODEL).as_of + timedelta(days=7)
    raw = model.known(model.arrange(read_sources(params(MODEL).ingest)), as_of)
    sound = {name: found.sound for name, found in check_all(raw, model.rules).items()}
    return uncrowned, Data(raw, examples(model, sound))


@pytest.mark.slow
def test_a_training_is_the_one_that_the_pipeline_makes(later, tmp_path):
    """From data that go on for a week: the rows, facts, graph and verdicts of the sample's real stages."""
    workshop, data = later
    found = train(MODEL, Plan("2013-03", params(MODEL).as_of), data, tmp_path / "later")
    for part in ("train", "validation", "test"):
        ours = pl.read_parquet(tmp_path / f"later/artifacts/{MODEL}/split/{part}.parquet")
        assert ours.equals(workshop.part(part))
    assert found.graph == (workshop.artifacts.model / "model.onnx").read_bytes()
    assert found.verdicts == read_json(workshop.artifacts.evidence, Evidence).verdicts
    ours, theirs = (
        read_json(where.facts, Facts)
        for where in (Artifacts.of(MODEL, tmp_path / "later/artifacts"), workshop.artifacts)
    )
    assert (ours.rows, ours.fit_until, ours.test_until) == (theirs.rows, theirs.fit_until, theirs.test_until)
    assert found.learnt_until < ours.fit_until <= found.as_of


def as_trained(name: str, workshop: Workshop, as_of: datetime) -> Trained:
    """The run of a workshop as the backtest hands it on."""
    return Trained(
        name=name,
        as_of=as_of,
        learnt_until=None,
        rows={},
        iterations=0,
        metrics={},
        rivals={},
        learned={},
        verdicts=(),
        graph=(workshop.artifacts.model / "model.onnx").read_bytes(),
        test=workshop.part("test"),
        folder=workshop.folder,
    )


@pytest.fixture
def world(uncrowned, weak, tmp_path, monkeypatch):
    """A world in which the sample was trained as of April and a weak model as of May.

    The flights of April are those of the sample's test days, a month later.
    """
    monkeypatch.chdir(uncrowned.folder)
    poor = Workshop(weak.path.parents[2], uncrowned.settings)
    moved = uncrowned.part("test").with_columns(pl.col(AT, LABEL_AT) + pl.duration(days=31))
    trained = {
        "2013-04": as_trained("2013-04", uncrowned, datetime(2013, 4, 1, tzinfo=UTC)),
        "2013-05": as_trained("2013-05", poor, datetime(2013, 5, 1, tzinfo=UTC)),
    }
    uncrowned.change("policy.yaml", "monitoring.performance.min_days", 7)

    def make(rows: pl.DataFrame = moved) -> World:
        return World(MODEL, Data({}, rows), trained, tmp_path / "world")

    return make, moved


def test_a_champion_is_crowned_watched_and_defended(world):
    """Labels that turned make the real monitoring retrain; the real G05 keeps the champion."""
    make, rows = world
    it = make(rows.with_columns((1 - pl.col(LABEL)).alias(LABEL)))
    assert it.challenge("2013-04").outcome == "accepted"
    first = champion(MODEL, it.settings)
    it.serve("2013-04", "2013-04")
    found = it.check("2013-05")
    assert (found.action, found.predictions) == ("retrain", rows.height)
    assert found.reason.startswith("performance: log loss")
    assert found.digest == first.digest
    judged = it.challenge("2013-05")
    assert judged.outcome == "kept"
    assert any(reason.startswith("G05") for reason in judged.reasons)
    assert champion(MODEL, it.settings).digest == first.digest
    (attempt,) = attempts.state(MODEL, it.settings).attempts
    assert (attempt.outcome, attempt.started) == ("kept", datetime(2013, 5, 1, tzinfo=UTC))
    assert it.check("2013-05").action == "wait"  # what was refused a moment ago is not tried again


def test_a_champion_that_does_well_is_left_alone(world):
    """The same flights with their own labels are no cause to retrain."""
    make, _ = world
    it = make()
    it.challenge("2013-04")
    it.serve("2013-04", "2013-04")
    found = it.check("2013-05")
    assert found.action == "keep", found.reason
    assert attempts.state(MODEL, it.settings) == State()


def test_a_champion_may_not_answer_what_it_learnt_from(world):
    """Peeking is refused where the month is served, before anything of it is logged."""
    make, _ = world
    it = make()
    with pytest.raises(FlightlineError, match="it peeks"):
        it.serve("2013-05", "2013-04")
    assert not it.settings.predictions("production").exists()


def test_a_first_model_that_fails_its_gates_is_no_champion(world, uncrowned):
    """Without a champion there is none to keep, and the strategy has nothing to begin with."""
    make, _ = world
    uncrowned.change("policy.yaml", "gates.may_not_apply", [])
    it = make()
    with pytest.raises(FlightlineError, match=r"2013-04 is 'failed' \(G05 .*; expected a first champion"):
        it.challenge("2013-04")
    assert champion(MODEL, it.settings) is None
