"""Scoring with a registered version: fetched from a real MLflow, verified, and named in what is written."""

import json

import polars as pl
import pytest

from contract.errors import BundleError, FlightlineError
from pipelines import score
from pipelines.delivery.registry import STAGING, connect
from pipelines.delivery.tracking_server import NoAnswerError
from pipelines.machine.settings import MLFLOW_PORT_VARIABLE
from pipelines.scoring.choosing import choose
from tests.pipelines.delivery.conftest import World, free_ports, running_mlflow
from tests.pipelines.scoring.conftest import rows


@pytest.fixture(scope="module")
def registered(tmp_path_factory):
    """A machine whose MLflow has two versions of a model, of which none was ever deployed."""
    folder = tmp_path_factory.mktemp("registered")
    with running_mlflow(folder / "var") as settings:
        world = World(settings, folder)
        yield settings, [world.register("iris", seed).digest for seed in (0, 1)]


@pytest.fixture
def run(registered, tmp_path, monkeypatch):
    """The command on that machine, over a table of a hundred rows."""
    settings, _ = registered
    monkeypatch.setenv("FLIGHTLINE_VAR", str(settings.var))
    monkeypatch.setenv(MLFLOW_PORT_VARIABLE, str(settings.mlflow_port))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    rows(100).write_parquet(tmp_path / "in.parquet")

    def score_with(*more):
        place = ["--input", str(tmp_path / "in.parquet"), "--output", str(tmp_path / "out")]
        return score.main(["iris", *place, "--json", *more])

    return score_with


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_named_version_scores(registered, run, tmp_path, capsys, version):
    """Its digest is the registered one, and the answers are those of its own graph."""
    settings, digests = registered
    assert run("--version", version) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["version"], told["digest"]) == (version, digests[int(version) - 1])
    assert (settings.releases / told["digest"] / "bundle" / "manifest.json").exists()
    found = pl.read_parquet(tmp_path / "out" / "in.parquet")
    wanted = [choose("iris", settings, version=one) for one in ("1", "2")]
    inputs = rows(100)
    scores = []
    for predictor in wanted:
        numbers = inputs.select("width", "height").to_numpy().astype("float32")
        letters = inputs.select(pl.col("letter").fill_null("")).to_numpy().astype(object)
        scores.append(predictor.predict(numbers, letters)[1])
    own, other = scores[int(version) - 1], scores[2 - int(version)]
    written = found.select("^score\\..*$").to_numpy()
    assert abs(written - own).max() < 1e-6
    assert abs(written - other).max() > 0.01


def test_where_nothing_was_deployed_the_alias_of_the_environment_scores(registered, run, capsys):
    """Without an alias it says what to do; a version that is named goes before the alias."""
    settings, _ = registered
    registry = connect(settings)
    with pytest.raises(FlightlineError, match="no iris runs in staging"):
        run("--environment", STAGING)
    registry.set_alias("iris", STAGING, "2")
    try:
        assert run("--environment", STAGING) == 0
        assert json.loads(capsys.readouterr().out)["version"] == "2"
        assert choose("iris", settings, environment=STAGING, version="1").version == "1"
    finally:
        registry.client.delete_registered_model_alias("iris", STAGING)


def test_a_version_that_is_not_registered_is_refused(run, tmp_path):
    """The sentence lists those that are; nothing is written."""
    with pytest.raises(FlightlineError, match="iris has no version 9; expected one of 2, 1"):
        run("--version", "9")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_version_whose_kept_release_was_changed_is_refused(registered):
    """Fetching it again would hide that somebody changed it."""
    settings, digests = registered
    choose("iris", settings, version="1")
    graph = settings.releases / digests[0] / "bundle" / "model.onnx"
    whole = graph.read_bytes()
    try:
        graph.write_bytes(whole + b"x")
        with pytest.raises(BundleError, match=r"model\.onnx"):
            choose("iris", settings, version="1")
    finally:
        graph.write_bytes(whole)


def test_a_version_that_anybody_made_is_refused(registered):
    """One that says a digest and a run that never signed for it: the trainer's statements decide."""
    settings, digests = registered
    registry = connect(settings)
    run_id = registry.run_of("iris", digests[0])
    source = f"{registry.client.get_run(run_id).info.artifact_uri}/bundle"
    made = registry.client.create_model_version(
        "iris", source, run_id=run_id, tags={"digest": digests[1]}, await_creation_for=0
    )
    try:
        with pytest.raises(BundleError):
            choose("iris", settings, version=str(made.version))
    finally:
        registry.client.delete_model_version("iris", made.version)


def test_without_its_registry_it_says_so_at_once(run, monkeypatch):
    """In seconds, not after the minutes that MLflow's own client tries."""
    monkeypatch.setenv(MLFLOW_PORT_VARIABLE, str(free_ports(1)[0]))
    with pytest.raises(NoAnswerError, match="MLflow does not answer"):
        run("--version", "1")
