"""Plain integers become Prometheus's: all of them, once, from every process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from serving.recording.metrics import Metrics
from serving.recording.tally import BUCKETS

ROOT = Path(__file__).parents[3]
SECONDS = [0.0, 0.0004, 0.0005, 0.00051, 0.3, 5.0, 7.0]


def samples(registry, name: str = "") -> dict[str, float]:
    """Samples by name and labels."""
    return {
        sample.name + str(sorted(sample.labels.items())): sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name.startswith(name) and not sample.name.endswith("_created")
    }


@pytest.mark.unit
def test_flushed_seconds_are_what_a_histogram_would_have_observed() -> None:
    """Several flushes or one: the same as `observe`. It pins what flushing leans on."""
    from prometheus_client import CollectorRegistry, Histogram

    registry = CollectorRegistry()
    wanted = Histogram(
        "flightline_prediction_seconds", "x", ("model", "version"), buckets=BUCKETS, registry=registry
    )
    metrics = Metrics()
    for turn in range(3):
        for seconds in SECONDS:
            wanted.labels("toy", "1").observe(seconds * (turn + 1))
            metrics.tally("toy", "1").request(seconds * (turn + 1))
        metrics.flush()
        metrics.flush()  # nothing new: nothing twice
    found = samples(metrics.registry, "flightline_prediction_seconds")
    assert found == pytest.approx(samples(registry))
    assert found["flightline_prediction_seconds_count[('model', 'toy'), ('version', '1')]"] == 21


@pytest.mark.unit
def test_whoever_reads_the_registry_reads_the_latest() -> None:
    """Collecting flushes first."""
    metrics = Metrics()
    metrics.tally("toy", "1").rows(["a", "b", "a"])
    metrics.refused(503)
    found = samples(metrics.registry)
    assert found["flightline_predictions_total[('label', 'a'), ('model', 'toy'), ('version', '1')]"] == 2
    assert found["flightline_refused_requests_total[('status', '503')]"] == 1


@pytest.mark.unit
def test_closing_twice_or_unstarted_is_no_harm() -> None:
    """A service that fails while starting closes what it has."""
    metrics = Metrics()
    metrics.close()
    metrics.close()


@pytest.mark.unit
def test_what_the_log_has_done_is_added_once_and_what_waits_is_as_it_is() -> None:
    """Rows and events only grow; the backlog does not. What never happened is a zero, and no gap."""
    summary = {
        "waiting": 7,
        "written": 0,
        "dropped": 0,
        "failed": 0,
        "refused_writes": 2,
        "torn": 0,
        "error": "x",
    }
    metrics = Metrics(lambda: summary)
    metrics.flush()
    summary |= {"waiting": 1, "written": 6, "refused_writes": 3}
    metrics.flush()
    assert samples(metrics.registry, "flightline_prediction_log") == {
        "flightline_prediction_log_rows_total[('state', 'written')]": 6,
        "flightline_prediction_log_rows_total[('state', 'dropped')]": 0,
        "flightline_prediction_log_rows_total[('state', 'failed')]": 0,
        "flightline_prediction_log_events_total[('kind', 'refused_writes')]": 3,
        "flightline_prediction_log_events_total[('kind', 'torn')]": 0,
        "flightline_prediction_log_waiting_rows[]": 1,
    }


WORKER = """
import sys
from serving.recording.metrics import Metrics
metrics = Metrics(lambda: {"written": int(sys.argv[1]), "waiting": 3})
metrics.start()
tally = metrics.tally("toy", "1")
for _ in range(int(sys.argv[1])):
    tally.request(0.001)
    tally.rows(["low"])
metrics.close()  # long before the first flush of its thread is due
"""


def test_the_counts_of_several_workers_add_up_and_none_is_lost_at_their_end(tmp_path) -> None:
    """Each writes its own files; what /metrics gathers is the sum."""
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, count], env=environment, cwd=ROOT)
        for count in ("1000", "234")
    ]
    assert [worker.wait(60) for worker in workers] == [0, 0]
    from prometheus_client import CollectorRegistry
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(tmp_path))
    found = samples(registry)
    assert found["flightline_prediction_log_rows_total[('state', 'written')]"] == 1234
    assert found["flightline_predictions_total[('label', 'low'), ('model', 'toy'), ('version', '1')]"] == 1234
    assert found["flightline_prediction_seconds_count[('model', 'toy'), ('version', '1')]"] == 1234
    assert (
        sum(
            value
            for name, value in found.items()
            if name.startswith("flightline_prediction_seconds_bucket") and "+Inf" in name
        )
        == 1234
    )
    subprocess.run([sys.executable, "-c", WORKER, "0"], env=environment, cwd=ROOT, check=True)
    found = samples(registry)
    assert found["flightline_prediction_log_rows_total[('state', 'written')]"] == 1234
    assert found["flightline_prediction_log_waiting_rows[]"] == 3, "the backlog of workers that are gone"
