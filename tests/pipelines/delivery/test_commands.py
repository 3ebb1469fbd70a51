"""Commands as people meet them: help with an example, and one sentence instead of a traceback."""

import http.server
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from contract.errors import ConfigError, FlightlineError
from pipelines import (
    deploy,
    dispatch,
    keys,
    ledger,
    local,
    promote,
    reconcile,
    register,
    rollback,
    status,
    track,
)
from pipelines.machine.settings import ROOT
from tests.pipelines.delivery.conftest import World, free_ports, qualify, quiet, settings_in, trained

COMMANDS = {
    "deploy": deploy,
    "keys": keys,
    "ledger": ledger,
    "local": local,
    "promote": promote,
    "reconcile": reconcile,
    "register": register,
    "rollback": rollback,
    "status": status,
    "track": track,
}


@pytest.mark.unit
@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`--help` says what the command is for and shows one call of it."""
    with pytest.raises(SystemExit, match="0"):
        COMMANDS[name].main(["--help"])
    assert f"example: python -m pipelines.{name}" in capsys.readouterr().out


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place where nothing runs, with one trained and accepted model."""
    monkeypatch.setenv("FLIGHTLINE_VAR", str(tmp_path / "var"))
    monkeypatch.setenv("FLIGHTLINE_MLFLOW_PORT", str(free_ports(1)[0]))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    qualify(trained(tmp_path / "artifacts"), settings_in(tmp_path / "var"))
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        ["track", "toy"],
        ["register", "toy"],
        ["deploy", "staging", "toy"],
        ["deploy", "production", "toy"],
        ["promote", "toy"],
        ["reconcile", "--once"],
    ],
    ids=" ".join,
)
def test_mlflow_down_is_one_sentence_in_seconds(here: Path, arguments: list[str]) -> None:
    """Not a minute of retries, and no traceback."""
    begun = time.monotonic()
    more = ["--artifacts", str(here / "artifacts")] if arguments[0] in {"track", "register"} else []
    done = subprocess.run(
        [sys.executable, "-m", f"pipelines.{arguments[0]}", *arguments[1:], *more],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert time.monotonic() - begun < 10
    assert done.returncode == 1
    assert done.stderr.startswith("error: MLflow does not answer at http://127.0.0.1:")
    assert done.stderr.count("\n") == 1
    assert "make up" in done.stderr


def test_another_mlflow_on_our_port_is_not_written_to(here: Path) -> None:
    """A server that answers, yet was not started from here, may belong to another checkout."""

    class Healthy(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Healthy) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            settings = settings_in(here / "var", FLIGHTLINE_MLFLOW_PORT=str(server.server_port))
            with pytest.raises(FlightlineError, match="was not started from here"):
                track.track("toy", settings, here / "artifacts", print)
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("command", [track, register], ids=["track", "register"])
def test_a_missing_bundle_says_what_to_run(here: Path, command: object) -> None:
    """A model that was never built has no bundle."""
    with pytest.raises(Exception, match=r"does not exist; .* Run `dvc repro` first"):
        command.main(["nosuch", "--artifacts", str(here / "artifacts")])  # type: ignore[attr-defined]


@pytest.mark.usefixtures("here")
def test_nothing_is_deployed_to_development() -> None:
    """It is this checkout."""
    with pytest.raises(ConfigError, match="nothing is deployed to development"):
        deploy.main(["development", "toy"])


@pytest.mark.usefixtures("here")
def test_rolling_back_without_a_past_is_refused() -> None:
    """There is nothing to go back to."""
    with pytest.raises(Exception, match="no version of toy ran in production before"):
        rollback.main(["toy"])


@pytest.mark.unit
@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("main", "arguments"),
    [
        (ledger.main, ["--model", "flihgts"]),
        (rollback.main, ["flihgts"]),
        (track.main, ["flihgts"]),
        (dispatch.main, ["flihgts"]),
    ],
    ids=["ledger", "rollback", "track", "dispatch"],
)
def test_a_misspelt_model_is_named_with_the_near_miss(
    main: Callable[[list[str]], int], arguments: list[str]
) -> None:
    """Also by a command that knows models only by what happened to them."""
    with pytest.raises(FlightlineError, match=r"flihgts.*, did you mean 'flights'\?"):
        main(arguments)


def test_the_registry_names_the_near_miss_of_a_model(world: World) -> None:
    """Staging, production and promotion ask it for a version."""
    world.register("nearly")
    for ask in (
        lambda: deploy.deploy_staging("naerly", world.settings, say=quiet),
        lambda: deploy.deploy_staging("naerly", world.settings, "1", say=quiet),
        lambda: promote.promote("naerly", world.settings, say=quiet),
    ):
        with pytest.raises(FlightlineError, match=r"naerly.*, did you mean 'nearly'\?"):
            ask()
    with pytest.raises(FlightlineError) as refused:
        deploy.deploy_production("nearly", world.settings, say=quiet)
    assert "did you mean" not in str(refused.value)
    with pytest.raises(FlightlineError, match="no version of flights has the alias 'other';"):
        world.registry.by_alias("flights", "other")  # one of ours, which nobody may have registered yet


@pytest.mark.unit
@pytest.mark.usefixtures("here")
def test_a_misspelt_environment_of_the_ledger_is_refused() -> None:
    """It would look like one in which nothing ever ran."""
    with pytest.raises(ConfigError, match="environment 'prodution' is unknown, did you mean 'production'"):
        ledger.main(["--environment", "prodution"])


def test_status_shows_an_alias_whose_version_never_ran(world: World) -> None:
    """A click in MLflow that nobody carried out yet."""
    registered = world.register("pointed")
    world.registry.set_alias("pointed", "champion", registered.version)
    rows = {(row.environment, row.model): row for row in status.status(world.settings).rows}
    row = rows["production", "pointed"]
    assert (row.version, row.alias, row.since) == ("", registered.version, "")
    assert ("staging", "pointed") not in rows


@pytest.mark.usefixtures("here")
def test_status_works_with_nothing_running(capsys: pytest.CaptureFixture[str]) -> None:
    """It says so, for people and for programs."""
    assert status.main(["--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["services"] == {"staging": "stopped", "production": "stopped"}
    assert found["mlflow"].startswith("does not answer")
    assert status.main([]) == 0
    assert local.main(["down"]) == 0
    assert "nothing was running" in capsys.readouterr().out


def test_promotion_and_rollback_answer_programs(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With `--json` they print one object and nothing else."""
    world.promote("spoken")
    world.stage("spoken", seed=1)
    settings = world.settings
    monkeypatch.setenv("FLIGHTLINE_VAR", str(settings.var))
    monkeypatch.setenv("FLIGHTLINE_MLFLOW_PORT", str(settings.mlflow_port))
    for name in ("staging", "production"):
        monkeypatch.setenv(f"FLIGHTLINE_{name.upper()}_PORT", str(settings.environments[name].port))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    capsys.readouterr()
    for main, before, after in ((promote.main, "1", "2"), (rollback.main, "2", "1")):
        assert main(["spoken", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["previous"]["version"], found["version"]) == (before, after)
