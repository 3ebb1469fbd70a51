"""A study: reproducible, continued where it stopped, blind to held-out rows, written back with care."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import optuna
import polars as pl
import pytest
import yaml

from contract.errors import ConfigError, FlightlineError
from contract.locks import exclusive
from pipelines import tune as command
from pipelines.building.config import params, section
from pipelines.tune import Tuned, tune
from pipelines.tuning.writing import write_params, yaml_scalar
from tests.pipelines.delivery.conftest import quiet
from tests.pipelines.stages.conftest import ROOT

pytestmark = pytest.mark.usefixtures("place")

TRIALS = 14  # the sampler learns from the eleventh on


def told(found: Tuned) -> list[tuple[int, dict[str, object], float]]:
    """What must be equal between two studies: everything but durations."""
    return [(trial.place, trial.params, trial.loss) for trial in found.trials]


def search(settings, trials=TRIALS, **more) -> Tuned:
    """A study of the small model."""
    return tune("iris", settings, trials=trials, say=more.pop("say", quiet), **more)


@pytest.fixture
def elsewhere(tmp_path, settings):
    """The same world with another `var`: a study that was never begun."""
    return dataclasses.replace(settings, var=tmp_path / "elsewhere")


def test_the_first_trial_is_the_present_parameters(settings):
    """So the winner is never worse than what is committed, and a tie leaves it."""
    found = search(settings, 3)
    assert found.trials[0].params == {"C": 1.0, "gamma": "scale"}
    assert found.best.loss == min(trial.loss for trial in found.trials)
    assert found.gain >= 0
    assert search(settings, 1).best.place in {0, found.best.place}


def test_a_study_that_was_stopped_gives_the_trials_of_one_that_was_not(settings, elsewhere, monkeypatch):
    """Cut off in the middle of trials 0, 4 and 12, each time another process goes on."""
    whole = search(elsewhere)
    real, calls = command.score, iter(range(10_000))
    folds = params("iris").tune.folds
    # Calls of the objective at which the process dies; the calls of a trial that was cut off come again.
    cut = {3, 4 * folds + 4 + 3, 12 * folds + 4 + 4 + 5}

    def dying(*words: object) -> object:
        if next(calls) in cut:
            raise KeyboardInterrupt
        return real(*words)

    monkeypatch.setattr(command, "score", dying)
    died = 0
    while True:
        try:
            again = search(settings)
            break
        except KeyboardInterrupt:
            died += 1
    assert died == 3
    assert told(again) == told(whole)


def test_one_sampler_for_all_trials_could_not_be_resumed(settings, elsewhere, monkeypatch):
    """The control of the test before: a sampler that lives as long as its process gives other trials."""
    kept: list[object] = []
    real = optuna.samplers.TPESampler

    def once(seed: int | None = None) -> object:
        if seed is None:  # optuna makes one of its own for a new study, which is never asked
            return real()
        if not kept:
            kept.append(real(seed=seed))
        return kept[0]

    monkeypatch.setattr(optuna.samplers, "TPESampler", once)
    whole = search(elsewhere, 6)
    kept.clear()
    search(settings, 3)
    kept.clear()
    assert told(search(settings, 6)) != told(whole)


def test_a_finished_trial_is_never_repeated(settings, monkeypatch):
    """A second call trains nothing; more trials continue with the next one."""
    first = search(settings, 4)
    real, ran = command.score, []
    monkeypatch.setattr(command, "score", lambda *words: ran.append(1) or real(*words))
    assert told(search(settings, 4)) == told(first)
    assert ran == []
    assert told(search(settings, 6))[:4] == told(first)
    assert len(ran) == 2 * params("iris").tune.folds


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_process_is_continued_by_the_next(place, settings, elsewhere, how):
    """By kill -9 and Ctrl-C in the middle of a real process; what it had finished stays."""
    words = [sys.executable, "-u", "-m", "pipelines.tune", "iris", "--trials", str(TRIALS)]
    variables = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "FLIGHTLINE_VAR": str(settings.var),
        "FLIGHTLINE_MLFLOW_PORT": str(settings.mlflow_port),
    }
    with subprocess.Popen(
        words, cwd=place, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        alarm = threading.Timer(120, process.kill)
        alarm.start()
        for line in process.stdout:
            if line.startswith("  trial 2 of"):
                process.send_signal(how)
                break
        _, said = process.communicate()
        alarm.cancel()
    assert process.returncode == (-signal.SIGKILL if how is signal.SIGKILL else 130), said
    lines: list[str] = []
    continued = search(settings, say=lines.append)
    assert any(f"of {TRIALS} trials are finished" in line for line in lines)
    assert told(continued) == told(search(elsewhere))


def test_the_held_out_rows_are_not_read(place, settings, elsewhere):
    """Without the test table and the tables it was cut from, a study is the same."""
    before = search(settings, 3)
    (place / "artifacts/iris/split/test.parquet").write_bytes(b"not to be read")
    for folder in ("raw", "checked"):
        for path in (place / "artifacts/iris" / folder).rglob("*.parquet"):
            path.write_bytes(b"not to be read")
    assert told(search(elsewhere, 3)) == told(before)


def test_other_validation_rows_give_another_study(place, settings):
    """The control of the test before: what is learnt from is read. A named study refuses to be mixed."""
    first = search(settings, 2, name="mine")
    path = place / "artifacts/iris/split/validation.parquet"
    pl.read_parquet(path)[:-2].write_parquet(path)
    assert search(settings, 2).study != first.study
    with pytest.raises(FlightlineError, match="the study 'mine' was made from other rows"):
        search(settings, 2, name="mine")


def test_another_search_at_the_same_time_is_refused(settings):
    """Two would run each trial twice."""
    with (
        exclusive(settings.var / "tuning" / "iris.lock", "search"),
        pytest.raises(FlightlineError, match="another search of hyperparameters"),
    ):
        search(settings, 1)


def test_a_loss_that_is_no_number_stops_the_study(settings, monkeypatch):
    """It would win or hide; the parameters are named."""
    real = command.score
    monkeypatch.setattr(command, "score", lambda *words: dataclasses.replace(real(*words), loss=float("nan")))
    with pytest.raises(FlightlineError, match=r"the loss of \{'C': 1.0, 'gamma': 'scale'\} is nan"):
        search(settings, 1)


@pytest.mark.parametrize(
    ("tune_section", "sentence"),
    [
        (None, "has no tune.space"),
        ({"space": {"C": {"low": 2.0, "high": 9.0}}}, "the present C is 1.0, outside"),
        ({"space": {"gamma": {"choices": ["auto"]}}}, "the present gamma is scale, outside"),
        ({"space": {"c": {"low": 1.0, "high": 9.0}}}, "unknown hyperparameter 'c'"),
        ({"space": {"C": {"low": 9.0, "high": 1.0}}}, "low 9.0 is not below high 1.0"),
        ({"space": {"C": {"low": 0.0, "high": 1.0, "log": True}}}, "a logarithm needs a low above 0"),
        ({"space": {"C": {"low": 1.0}}}, "either low and high, or choices"),
        ({"space": {"C": {"low": 1.0, "high": 2.0, "step": 1}}}, "unknown key 'step'"),
        ({"space": {"C": {"low": 0.5, "high": 2.0}}, "trials": 0}, "trials"),
    ],
)
def test_a_space_that_cannot_be_searched_is_a_sentence(settings, tune_section, sentence):
    """Found, expected, remedy; nothing runs."""
    everything = yaml.safe_load(Path("params.yaml").read_text())
    everything["iris"].pop("tune")
    if tune_section is not None:
        everything["iris"]["tune"] = tune_section
    Path("params.yaml").write_text(yaml.safe_dump(everything))
    with pytest.raises(ConfigError, match=sentence):
        search(settings, 1)
    assert not (settings.var / "tuning").exists()


def test_what_is_searched_changes_no_build():
    """The bundle's hash of its parameters leaves `tune` out, so does DVC: no stage is built anew."""
    assert "tune" not in section("iris")
    assert ".tune" not in (ROOT / "dvc.yaml").read_text()


def test_comments_and_layout_survive_the_writing(tmp_path):
    """Only the values change, those of one model only; a second writing changes nothing."""
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text())
    before = path.read_text().split("\n")
    assert write_params(path, "flights", {"learning_rate": 1e-05, "min_samples_leaf": 77})
    after = path.read_text().split("\n")
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert [new for _, new in changed] == ["    learning_rate: 1.0e-05", "    min_samples_leaf: 77 # rows"]
    assert yaml.safe_load(path.read_text())["flights"]["train"]["learning_rate"] == 1e-05
    assert not write_params(path, "flights", {"learning_rate": 1e-05, "min_samples_leaf": 77})


def test_a_file_of_another_layout_is_left_alone(tmp_path):
    """A flow mapping has no line a value: refused, and not a byte is changed."""
    path = tmp_path / "params.yaml"
    path.write_text("iris:\n  train: {C: 1.0, gamma: scale}\n")
    with pytest.raises(ConfigError, match="was not changed"):
        write_params(path, "iris", {"C": 2.0})
    assert path.read_text() == "iris:\n  train: {C: 1.0, gamma: scale}\n"


@pytest.mark.parametrize("value", [1e-05, 0.1, 3, "scale", 1e20, True])
def test_a_scalar_is_read_back_as_it_was(value):
    """YAML 1.1 takes 1e-05 for a string."""
    assert yaml.safe_load(yaml_scalar(value)) == value


def test_the_command_writes_the_winner(settings, monkeypatch, capsys):
    """`--write --json`: params.yaml holds the best values and is still valid."""
    monkeypatch.setattr(command.Settings, "from_environment", classmethod(lambda *_: settings))
    assert command.main(["iris", "--trials", "6", "--write", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert len(answer["trials"]) == 6
    found = params("iris").train
    assert (found.C, found.gamma) == (answer["best"]["params"]["C"], answer["best"]["params"]["gamma"])
    assert answer["written"] is (answer["best"]["place"] != 0)
    assert "# any moment after publication" in Path("params.yaml").read_text()
    assert command.main(["iris", "--trials", "6"]) == 0
    assert "6 of 6 trials are finished" in capsys.readouterr().out
