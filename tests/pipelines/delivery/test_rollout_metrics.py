"""What /metrics says of a version, as a rollout reads it."""

import httpx
import pytest
from prometheus_client import generate_latest

from contract.errors import FlightlineError
from pipelines.delivery.rollout_decision import Latencies
from pipelines.delivery.rollout_metrics import (
    Counted,
    RestartedError,
    counted,
    counted_together,
    read_metrics,
)
from serving.recording.metrics import Metrics
from serving.recording.tally import BUCKETS

pytestmark = pytest.mark.unit


def text(*, fast: int = 0, slow: int = 0, failed: int = 0) -> str:
    """What the service's own metrics print of version 2, beside others."""
    metrics = Metrics()
    for version in ("1", "2"):
        for seconds, count in ((0.0001, fast), (9.0, slow)):
            for _ in range(count):
                metrics.tally("toy", version).request(seconds)
        for _ in range(failed):
            metrics.failed("toy", version)
    metrics.failed("other", "2")
    metrics.flush()
    return str(generate_latest(metrics.registry).decode())


def test_latencies_and_failures_are_read_by_version() -> None:
    """Each bucket holds its own; another model's and what was never asked are not in it."""
    (found, nobody) = counted(text(fast=5, slow=2, failed=3), "toy", ("2", "7"))
    assert found == Counted(failed=3, latencies=Latencies((5, *(0 for _ in BUCKETS[1:]), 2)))
    assert nobody == Counted()


def test_a_shadows_rows_are_read_by_outcome() -> None:
    """As the mirror counts them; what it dropped is no evidence."""
    lines = "\n".join(
        f'flightline_shadow_rows_total{{model="toy",outcome="{outcome}",version="2"}} {count}.0'
        for outcome, count in (("agreed", 7), ("differed", 2), ("failed", 1), ("dropped", 9))
    )
    lines += '\nflightline_shadow_seconds_bucket{le="0.002",model="toy",version="2"} 4.0'
    (found,) = counted(lines, "toy", ("2",))
    assert (found.agreed, found.differed, found.shadow_failed, found.runs.total) == (7, 2, 1, 4)


def test_a_step_sees_what_came_after_it_began() -> None:
    """The difference of two readings."""
    (before,), (after,) = (
        counted(text(fast=5, failed=1), "toy", ("2",)),
        counted(text(fast=8, failed=3), "toy", ("2",)),
    )
    found = after.since(before)
    assert (found.failed, found.latencies.total) == (2, 3)


def test_a_service_that_counts_from_zero_again_is_noticed() -> None:
    """It is not the process that was being watched."""
    (before,), (after,) = counted(text(fast=5), "toy", ("2",)), counted(text(fast=4), "toy", ("2",))
    with pytest.raises(RestartedError):
        after.since(before)


def test_a_service_without_metrics_is_no_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not to know is an error, not zero."""
    asked = httpx.Request("GET", "http://service/metrics")
    monkeypatch.setattr(httpx, "get", lambda *_, **__: httpx.Response(503, request=asked))
    with pytest.raises(FlightlineError, match="/metrics does not answer"):
        read_metrics("http://service")


def test_several_processes_are_counted_together() -> None:
    """One of them has seen a part of what there is to see."""
    (one,), (both,) = (
        counted(text(fast=5), "toy", ("2",)),
        counted_together([text(fast=5)] * 2, "toy", ("2",)),
    )
    assert both.latencies.total == 2 * one.latencies.total > 0
    assert both.failed == 2 * one.failed
    assert both == one.plus(one)
