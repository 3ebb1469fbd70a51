"""`make up` starts what carries out a click, where it is this machine's to do so."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import httpx
import pytest

from contract.errors import FlightlineError
from pipelines import local, reconcile
from pipelines.machine.processes import start_all, stop
from pipelines.machine.settings import Settings
from tests.pipelines.delivery.conftest import quiet, settings_in
from tests.pipelines.delivery.test_processes import eventually


@pytest.mark.unit
@pytest.mark.parametrize(
    ("words", "address", "started"),
    [(["up"], "", True), (["up", "--servers-only"], "", False), (["up"], "http://127.0.0.1:1", False)],
)
def test_promotions_are_carried_out_by_default_and_for_our_own_mlflow_only(
    words: list[str],
    address: str,
    started: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    """A shared MLflow has one machine that deploys, which is not every laptop that looks at it."""
    seen = []

    def up(_: Settings, __: object, *, promotions: bool) -> tuple[local.Link, ...]:
        seen.append(promotions)
        return ()

    monkeypatch.setattr(local, "up", up)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    assert local.main(words) == 0
    assert seen == [started]
    assert ("pipelines.reconcile" in capsys.readouterr().out) is not started


@pytest.mark.unit
def test_a_started_process_has_the_very_settings(tmp_path: Path) -> None:
    """Whatever the shell of `make up` says by then."""
    settings = settings_in(tmp_path / "var", FLIGHTLINE_CLOCK="request")
    assert Settings.from_environment(settings.variables()) == settings
    shared = settings_in(tmp_path / "var", MLFLOW_TRACKING_URI="http://127.0.0.1:1/")
    assert Settings.from_environment(shared.variables()) == shared


def test_a_reconciler_says_how_it_goes(tmp_path: Path) -> None:
    """Without MLflow it goes on trying; whoever asks is told why nothing happens, its log once."""
    settings = settings_in(tmp_path / "var")
    settings.var.mkdir()
    program = local.reconciler(settings)

    def said() -> dict[str, object]:
        return dict(httpx.get(f"http://127.0.0.1:{settings.reconciler_port}/livez", trust_env=False).json())

    try:
        start_all([program], settings.processes, settings.logs, quiet)
        assert eventually(lambda: "MLflow does not answer" in str(said().get("trouble")), 60)
        assert httpx.get(f"http://127.0.0.1:{settings.reconciler_port}/", trust_env=False).status_code == 404
    finally:
        assert stop(settings.processes, local.RECONCILER)
    log = (settings.logs / "reconciler.log").read_text()
    assert log.count("MLflow does not answer") == 1
    assert "Traceback" not in log


@pytest.mark.unit
def test_a_reconciler_outlives_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a round that came to nothing, as any other trouble is; so it is for the relay."""

    def full(_: Settings) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(reconcile, "connect", full)
    with pytest.raises(FlightlineError, match="there is no room"):
        reconcile.reconcile(settings_in(tmp_path / "var"), quiet)


def test_a_relay_that_has_nowhere_to_send_does_not_start(tmp_path: Path) -> None:
    """GitHub without a repository: one sentence, before anything is accepted."""
    settings = settings_in(tmp_path / "var")
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.relay", "--to", "github"],
        cwd=settings.checkout,
        env={**settings.variables(), "PATH": "/usr/bin", "GITHUB_REPOSITORY": "", "GITHUB_TOKEN": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: GITHUB_REPOSITORY is not set")
    assert len(done.stderr.splitlines()) == 1
