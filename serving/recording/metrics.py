"""What the service counts for Prometheus, beside what BentoML counts itself."""

from collections import Counter as Tally
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from serving.rows import Rows

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from serving.features.completion import Completed
    from serving.models.versions import Snapshot

# Seconds. One row takes well under a millisecond, a batch of a thousand some tens.
BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)


class Metrics:
    """Histograms and counters by model. One instance per process.

    Made only when the service starts: prometheus_client decides at its import whether it counts for
    several processes, and BentoML prepares that just before.
    """

    def __init__(self) -> None:
        """Declare the metrics in a registry of their own; /metrics gathers every registry of the process."""
        from prometheus_client import CollectorRegistry, Counter, Histogram

        self.registry = CollectorRegistry()
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
        self._out_of_range, self._unknown, self._missing = (
            Counter(f"flightline_{name}", text, ("model", "feature"), registry=self.registry)
            for name, text in (
                ("out_of_range", "Accepted values outside the declared range"),
                ("unknown_category", "Accepted categories outside the declared ones"),
                ("missing", "Accepted missing values"),
            )
        )
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
        self._refused = Counter(
            "flightline_refused_requests", "Requests refused", ("status",), registry=self.registry
        )

    def answered(self, model: str, version: str, seconds: float, rows: Rows, labels: Iterable[str]) -> None:
        """Count one answered request."""
        self._seconds.labels(model, version).observe(seconds)
        for label, times in Tally(labels).items():
            self._predictions.labels(model, version, label).inc(times)
        for counter, counts in (
            (self._out_of_range, rows.out_of_range),
            (self._unknown, rows.unknown_category),
            (self._missing, rows.missing),
        ):
            for feature, times in counts.items():
                counter.labels(model, feature).inc(times)

    def completed(self, model: str, completed: "Completed") -> None:
        """Count what the online store gave, and what it could not give."""
        self._filled.labels(model).inc(completed.filled)
        for counter, counts in (
            (self._not_stored, completed.missing),
            (self._stale, completed.stale),
        ):
            for feature, times in counts.items():
                counter.labels(model, feature).inc(times)

    def refused(self, status: int) -> None:
        """Count one refused request."""
        self._refused.labels(str(status)).inc()


def process_and_models(snapshot: "Snapshot", log: dict[str, int | str]) -> str:
    """Prometheus text on memory, CPU, the models being served and the prediction log, as of now."""
    from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(_Now(snapshot, log))
    return generate_latest(registry).decode()


class _Now:
    """Values read when asked for. A Gauge would keep those of models that have gone."""

    def __init__(self, snapshot: "Snapshot", log: dict[str, int | str]) -> None:
        self._snapshot, self._log = snapshot, log

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
        rows = GaugeMetricFamily(
            "flightline_prediction_log_rows",
            "Rows of the prediction log by what became of them",
            labels=("state",),
        )
        for state, value in self._log.items():
            if isinstance(value, int):
                rows.add_metric((state,), value)
        yield rows
