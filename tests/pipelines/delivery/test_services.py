"""A service has converged when every worker answers with the bundles that were asked for."""

from pathlib import Path

import pytest

from contract.errors import FlightlineError
from pipelines.delivery import services
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
