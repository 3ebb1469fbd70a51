"""A probe whose connection is cut is asked again, and held against the version that it was meant for."""

import httpx
import pytest

from contract.errors import FlightlineError
from pipelines.delivery import rollout_metrics, rollout_probes
from pipelines.delivery.rollout_metrics import read_metrics
from pipelines.delivery.rollout_probes import Prober

pytestmark = pytest.mark.unit

ROW = {"width": 1.0}


class Service(httpx.BaseTransport):
    """Workers behind one port; the connection of every request in `cut` is cut."""

    def __init__(self, cut: set[int], error: type[httpx.TransportError] = httpx.ReadError) -> None:
        self.cut, self.error, self.asked = cut, error, 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer as version 2, or not at all."""
        self.asked += 1
        if self.asked in self.cut:
            raise self.error("gone", request=request)
        return httpx.Response(200, json={"version": "2"})


def prober(service: Service, monkeypatch: pytest.MonkeyPatch, most: int = 4) -> Prober:
    """A prober that may send `most` requests, all of which fall to whichever part is asked for."""
    monkeypatch.setattr(rollout_probes, "draw", lambda *_: 0.0)
    found = Prober(httpx.Client(base_url="http://it", transport=service), "toy", [ROW], most)
    found.begin()
    return found


@pytest.mark.parametrize("error", rollout_metrics.CUT)
def test_a_worker_that_dies_costs_one_request_and_not_the_rollout(
    monkeypatch: pytest.MonkeyPatch, error: type[httpx.TransportError]
) -> None:
    """Another worker answers; what is lost counts as a failure of the shadow that it was for."""
    service = Service({2}, error)
    asking = prober(service, monkeypatch)
    asking.round("shadow", "2", mirrored=100, percent=0)
    assert (asking.own, asking.lost, service.asked) == (4, 1, 5)
    asking.begin()
    assert (asking.own, asking.lost) == (0, 0)


def test_a_lost_request_of_the_champions_is_not_the_canarys(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a canary every second probe is the champion's: the first is the version's, the second is not."""
    draws = iter([0.0, 99.0])
    asking = prober(Service({2}), monkeypatch, most=2)
    monkeypatch.setattr(rollout_probes, "draw", lambda *_: next(draws, 0.0))
    asking.round("canary", "2", mirrored=100, percent=50)
    assert asking.lost == 0
    draws = iter([0.0])
    asking = prober(Service({1}), monkeypatch, most=1)
    asking.round("canary", "2", mirrored=100, percent=50)
    assert asking.lost == 1


@pytest.mark.parametrize(("cut", "error"), [({1, 2}, httpx.ReadError), ({1}, httpx.ConnectError)])
def test_a_service_that_is_gone_is_said_at_once(
    monkeypatch: pytest.MonkeyPatch, cut: set[int], error: type[httpx.TransportError]
) -> None:
    """Cut twice, or nobody listens: that is no single worker's death."""
    asking = prober(Service(cut, error), monkeypatch)
    with pytest.raises(FlightlineError, match="a request was not answered"):
        asking.round("shadow", "2", mirrored=100, percent=0)


@pytest.mark.parametrize(("cut", "answers"), [({1}, True), ({1, 2}, False)])
def test_metrics_are_asked_of_another_worker_once(
    monkeypatch: pytest.MonkeyPatch, cut: set[int], answers: bool
) -> None:
    """Each of them counts for all; two that die in a row are more than one death."""
    service = Service(cut)
    client = httpx.Client(transport=service)
    monkeypatch.setattr(httpx, "get", lambda url, **_: client.get(url))
    if answers:
        assert read_metrics("http://it") == '{"version":"2"}'
    else:
        with pytest.raises(FlightlineError, match="/metrics does not answer"):
            read_metrics("http://it")
