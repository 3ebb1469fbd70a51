"""What the service counts for Prometheus, beside what BentoML counts itself."""

import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving.recording.tally import BUCKETS, Tally
from serving.rows import Rows

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from serving.features.completion import Completed
    from serving.models.versions import Snapshot

# Seconds between two flushes: what another worker's /metrics may lack, and what a kill -9 may lose.
FLUSH_SECONDS = 1.0
ODDITIES = (
    ("out_of_range", "Accepted values outside the declared range"),
    ("unknown_category", "Accepted categories outside the declared ones"),
    ("missing", "Accepted missing values"),
)

# Of metrics there are, BentoML's own among them: each has a file in which a process of several counts.
KINDS = ("counter", "gauge_livesum", "histogram")
ROOM = 2**20  # bytes of each file: some thousand series

# Of the prediction log's summary, what only grows; beside it the rows that wait.
LOG_ROWS, LOG_EVENTS = ("written", "dropped", "failed"), ("refused_writes", "torn")


class Metrics:
    """Histograms and counters by model. One instance per process.

    Made only when the service starts: prometheus_client decides at its import whether it counts for
    several processes, and BentoML prepares that just before. A request adds to plain integers (`tally`);
    they are flushed to Prometheus once a second, when this worker's /metrics is asked for, and at the end.
    """

    def __init__(self, log: Callable[[], Mapping[str, int | str]] = dict) -> None:
        """Declare the metrics in a registry of their own; /metrics gathers every registry of the process.

        `log` tells what became of the rows that this process was to write, as the prediction log sums it up.
        """
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        forget_dead(folder)
        reserve(folder)
        self.registry = CollectorRegistry()
        self.registry.register(_Flushing(self))  # first, so that it collects first
        self._seconds = Histogram(
            "flightline_prediction_seconds",
            "From the body's arrival to the answer",
            ("model", "version"),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._predictions = Counter(
            "flightline_predictions",
            "Rows answered, by the class that was predicted",
            ("model", "version", "label"),
            registry=self.registry,
        )
        self._oddities = {
            name: Counter(f"flightline_{name}", text, ("model", "feature"), registry=self.registry)
            for name, text in ODDITIES
        }
        self._filled = Counter(
            "flightline_online_features", "Values from the online store", ("model",), registry=self.registry
        )
        self._not_stored, self._stale = (
            Counter(f"flightline_online_features_{name}", text, ("model", "feature"), registry=self.registry)
            for name, text in (
                ("missing", "Values that the online store should have given and had not"),
                ("stale", "Values of the online store that were too old"),
            )
        )
        self._failed = Counter(
            "flightline_failed_requests",
            "Good requests that a version could not answer",
            ("model", "version"),
            registry=self.registry,
        )
        self._refused = Counter(
            "flightline_refused_requests", "Requests refused", ("status",), registry=self.registry
        )
        self._log, self._logged = log, dict[str, int]()
        self._log_rows = Counter(
            "flightline_prediction_log_rows",
            "Rows of the prediction log by what became of them",
            ("state",),
            registry=self.registry,
        )
        self._log_events = Counter(
            "flightline_prediction_log_events",
            "Writes that the disk refused, and segments that a crash had left torn",
            ("kind",),
            registry=self.registry,
        )
        self._log_waiting = Gauge(
            "flightline_prediction_log_waiting_rows",
            "Rows that wait to be written",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self._tallies: dict[tuple[str, str], tuple[Tally, Tally]] = {}  # what is, and what was flushed of it
        self._statuses: defaultdict[str, int] = defaultdict(int)
        self._flushed: defaultdict[str, int] = defaultdict(int)
        self._one = threading.Lock()  # one flush at a time; nothing on a request's path takes it
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrics")

    def start(self) -> None:
        """Start flushing once a second."""
        self._thread.start()

    def close(self) -> None:
        """Flush what is left, and stop."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        self.flush()

    def tally(self, model: str, version: str) -> Tally:
        """The counts of one version; the event loop's thread alone may add to them."""
        found = self._tallies.get((model, version))
        if found is None:
            found = self._tallies[model, version] = (Tally(), Tally())
        return found[0]

    def answered(
        self, model: str, version: str, seconds: float, rows: Rows, labels: Mapping[str, int]
    ) -> None:
        """Count one answered request, whose rows were said to be `labels`, each so many times."""
        tally = self.tally(model, version)
        tally.request(seconds)
        tally.add(labels)
        tally.oddities(rows.out_of_range, rows.unknown_category, rows.missing)

    def completed(self, model: str, completed: "Completed") -> None:
        """Count what the online store gave, and what it could not give."""
        self._filled.labels(model).inc(completed.filled)
        for counter, counts in (
            (self._not_stored, completed.missing),
            (self._stale, completed.stale),
        ):
            for feature, times in counts.items():
                counter.labels(model, feature).inc(times)

    def failed(self, model: str, version: str) -> None:
        """Count one good request that a version could not answer."""
        self._failed.labels(model, version).inc()

    def refused(self, status: int) -> None:
        """Count one refused request."""
        self._statuses[str(status)] += 1

    def flush(self) -> None:
        """Give Prometheus what was counted since the last time."""
        with self._one:
            for (model, version), (tally, flushed) in list(self._tallies.items()):
                tally.settle()
                self._flush_seconds(self._seconds.labels(model, version), tally, flushed)
                for label, times in _news(tally.labels, flushed.labels):
                    self._predictions.labels(model, version, label).inc(times)
                for name, counter in self._oddities.items():
                    for feature, times in _news(getattr(tally, name), getattr(flushed, name)):
                        counter.labels(model, feature).inc(times)
            for status, times in _news(self._statuses, self._flushed):
                self._refused.labels(status).inc(times)
            self._flush_log(self._log())

    def _flush_log(self, summary: Mapping[str, int | str]) -> None:
        """Add what the prediction log has done since the last time; what waits is as it is now."""
        for counter, names in ((self._log_rows, LOG_ROWS), (self._log_events, LOG_EVENTS)):
            for name in names:
                now = int(summary.get(name, 0))
                counter.labels(name).inc(now - self._logged.get(name, 0))  # zeros, too: nobody misses them
                self._logged[name] = now
        self._log_waiting.set(int(summary.get("waiting", 0)))

    def _flush_seconds(self, histogram: Any, tally: Tally, flushed: Tally) -> None:
        """Add many observations at once.

        `observe` takes one, so this leans on the two parts of a histogram; a test pins them.
        """
        for index, count in enumerate(tally.buckets):
            if count != flushed.buckets[index]:
                histogram._buckets[index].inc(count - flushed.buckets[index])  # noqa: SLF001 - it adds one by one
                flushed.buckets[index] = count
        seconds = tally.seconds
        if seconds != flushed.seconds:
            histogram._sum.inc(seconds - flushed.seconds)  # noqa: SLF001 - it adds one by one
            flushed.seconds = seconds

    def _run(self) -> None:
        while not self._stop.wait(FLUSH_SECONDS):
            self.flush()


def _news(counts: Mapping[str, int], flushed: dict[str, int]) -> Iterator[tuple[str, int]]:
    """What `counts` has more than `flushed`, which is brought up to it."""
    for name, count in list(counts.items()):
        more = count - flushed.get(name, 0)
        if more:
            flushed[name] = count
            yield name, more


class _Flushing:
    """Brings a registry up to date before anything in it is read."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def describe(self) -> "list[Metric]":
        return []

    def collect(self) -> "list[Metric]":
        self._metrics.flush()
        return []


def reserve(folder: str | None) -> None:
    """Have room on the disk for what this process will count.

    prometheus_client maps files with holes into memory. On a full disk the first count that falls into a hole
    would end the process (SIGBUS) in the middle of an answer.

    Raises:
        OSError: the disk is full already.
    """
    if folder is None or not hasattr(os, "posix_fallocate"):  # counted in memory; or not Linux
        return
    for kind in KINDS:
        with (Path(folder) / f"{kind}_{os.getpid()}.db").open("ab") as file:
            os.posix_fallocate(file.fileno(), 0, ROOM)


def forget_dead(folder: str | None) -> None:
    """Remove the gauges of processes that are gone: a sum over those that live must not hold them.

    Whoever takes a dead one's place does so. What it counted stays: that happened.
    """
    for path in Path(folder).glob("gauge_live*_*.db") if folder else ():
        number = path.stem.rpartition("_")[2]
        if number.isdecimal() and not _exists(int(number)):
            path.unlink(missing_ok=True)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def process_and_models(snapshot: "Snapshot") -> str:
    """Prometheus text on memory, CPU and the models being served, as of now."""
    from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(_Now(snapshot))
    return generate_latest(registry).decode()


class _Now:
    """Values read when asked for. A Gauge would keep those of models that have gone."""

    def __init__(self, snapshot: "Snapshot") -> None:
        self._snapshot = snapshot

    def collect(self) -> "Iterator[Metric]":
        from prometheus_client.core import GaugeMetricFamily

        info = GaugeMetricFamily(
            "flightline_model_as_of_timestamp_seconds",
            "Nothing that arrived later was used in training the model",
            labels=("model", "version", "digest"),
        )
        for name, served in sorted(self._snapshot.models.items()):
            bundle = served.predictor.bundle
            moment = datetime.fromisoformat(bundle.environment.as_of).timestamp()
            info.add_metric((name, served.predictor.version, bundle.digest), moment)
        yield info
