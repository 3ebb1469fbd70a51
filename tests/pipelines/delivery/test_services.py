"""A service has converged when every worker answers with the bundles that were asked for."""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from contract.errors import ConfigError, FlightlineError
from pipelines.delivery import services
from pipelines.machine.environments import read_environments
from pipelines.machine.settings import ROOT
from serving.models.desired import Ack, DesiredModel
from tests.pipelines.delivery.conftest import settings_in

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("served", [{}, {"toy": "b" * 64}, {"toy": "a" * 64, "iris": "c" * 64}])
def test_a_generation_without_its_bundles_is_no_convergence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, served: dict[str, str]
) -> None:
    """A worker on a later generation may serve something else by then: the digests are compared."""
    settings = settings_in(tmp_path)
    wanted = {"toy": DesiredModel.of("1", "/release", "a" * 64)}
    monkeypatch.setattr(services, "running", lambda *_: object())
    monkeypatch.setattr(services, "ready", lambda *_: True)
    monkeypatch.setattr(services, "_acks", lambda *_: [Ack(99, "1", served, {})])
    with pytest.raises(FlightlineError, match="did not serve what generation 1 asks for"):
        services.converge("production", wanted, settings, wait_s=0.2)
    monkeypatch.setattr(services, "_acks", lambda *_: [Ack(99, "1", {"toy": "a" * 64}, {})])
    assert services.converge("production", wanted, settings, wait_s=5) == 2


def test_an_environment_says_how_many_workers_share_its_port(tmp_path: Path) -> None:
    """One runs without a supervisor; a process with another number is not taken for what is wanted."""
    settings = settings_in(tmp_path)
    production = settings.environment("production")
    two = msgspec.structs.replace(production, workers=2)
    several = replace(settings, environments={**settings.environments, "production": two})
    one, other = (services.program("production", found) for found in (settings, several))
    assert "--workers" not in one.command
    assert other.command[-2:] == ("--workers", "2")
    assert one.setup != other.setup


@pytest.mark.parametrize("workers", [0, 65, 1.5, "2"])
def test_a_number_of_workers_that_is_none_is_refused(tmp_path: Path, workers: object) -> None:
    """With the file and the key named, before anything starts."""
    text = (ROOT / "infra" / "environments.yaml").read_text()
    path = tmp_path / "environments.yaml"
    path.write_text(text.replace("  port: 8102\n", f"  port: 8102\n  workers: {workers!r}\n"))
    with pytest.raises(ConfigError, match=r"environments\.yaml.*workers"):
        read_environments(path, {})
