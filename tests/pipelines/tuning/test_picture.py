"""A study in a real MLflow: one parent run, a child a finished trial, each written once."""

import dataclasses
from collections.abc import Iterator

import pytest

from pipelines.delivery.registry import connect
from pipelines.machine.settings import Settings
from pipelines.tune import tune
from pipelines.tuning import picture
from pipelines.tuning.study import Finished
from tests.pipelines.delivery.conftest import quiet, running_mlflow

pytestmark = pytest.mark.usefixtures("place")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """An MLflow of its own."""
    with running_mlflow(tmp_path_factory.mktemp("mlflow") / "var") as settings:
        yield settings


def runs(settings: Settings, study: str) -> tuple[list, list]:
    """Parents and children of a study, the latter in order."""
    client = connect(settings).client
    experiment = client.get_experiment_by_name("iris-tuning")
    found = client.search_runs([experiment.experiment_id], f"tags.`{picture.STUDY}` = '{study}'")
    parents = [run for run in found if picture.TRIAL not in run.data.tags]
    children = [run for run in found if picture.TRIAL in run.data.tags]
    return parents, sorted(children, key=lambda run: int(run.data.tags[picture.TRIAL]))


def test_a_study_shows_as_a_parent_with_nested_trials(server):
    """Parameters, loss, losses by fold; a study that goes on adds its new trials and nothing twice."""
    tune("iris", server, trials=2, name="nested", say=quiet)
    found = tune("iris", server, trials=4, name="nested", say=quiet)
    for _ in range(2):
        (parent,), children = runs(server, "nested")
        assert parent.info.run_id == found.run_id
        assert parent.info.status == "FINISHED"
        assert len(children) == 4
        for trial, run in zip(found.trials, children, strict=True):
            assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
            assert run.data.params == {name: str(value) for name, value in trial.params.items()}
            assert run.data.metrics["loss"] == pytest.approx(trial.loss)
            assert sum(name.startswith("loss.") for name in run.data.metrics) == len(trial.scores)
        client = connect(server).client
        history = [point.value for point in client.get_metric_history(parent.info.run_id, "loss")]
        assert history == pytest.approx([trial.loss for trial in found.trials])
        assert parent.data.tags["best.trial"] == str(found.best.place)
        tune("iris", server, trials=4, name="nested", say=quiet)


@pytest.mark.slow
def test_what_was_found_while_mlflow_was_down_is_shown_later(server, free_port):
    """The study does not need MLflow; the next call with it up adds what is lacking."""
    lines: list[str] = []
    alone = dataclasses.replace(server, tracking_uri=f"http://127.0.0.1:{free_port}", mlflow_port=free_port)
    found = tune("iris", alone, trials=2, name="late", say=lines.append)
    assert found.run_id == ""
    assert any("MLflow does not show this study yet" in line for line in lines)
    assert tune("iris", server, trials=2, name="late", say=quiet).run_id
    _, children = runs(server, "late")
    assert len(children) == 2


def test_a_child_that_was_cut_off_is_completed(server, monkeypatch):
    """Killed between the first and the last write of a child: it is filled, not doubled."""
    real = picture._metrics

    def dying(registry, run, points) -> None:
        if picture.TRIAL in run.data.tags:
            raise KeyboardInterrupt
        real(registry, run, points)

    monkeypatch.setattr(picture, "_metrics", dying)
    with pytest.raises(KeyboardInterrupt):
        tune("iris", server, trials=1, name="cut", say=quiet)
    monkeypatch.setattr(picture, "_metrics", real)
    tune("iris", server, trials=1, name="cut", say=quiet)
    (_,), (child,) = runs(server, "cut")
    assert child.info.status == "FINISHED"
    assert "loss" in child.data.metrics


def test_the_curve_of_a_trial_is_kept_step_by_step(server):
    """What early stopping saw, for each fold."""
    curve = {"metric": "log_loss", "train": [0.6, 0.5], "validation": [0.61, 0.55]}
    trial = Finished(0, {"C": 1.0}, 0.5, ({"fold": "2013-03-04", "loss": 0.5, "curve": curve},), 1.0)
    facts = {"seed": 7, "space": {"C": {"low": 0.1, "high": 1.0}}}
    picture.show(connect(server), "iris", "curves", trials=(trial,), facts=facts, wanted=1)
    _, (child,) = runs(server, "curves")
    history = connect(server).client.get_metric_history(child.info.run_id, "validation.2013-03-04")
    assert [(point.step, point.value) for point in history] == [(0, 0.61), (1, 0.55)]
