"""Memory and CPU of every worker of a service, whichever of them is asked (M1).

Prometheus asks one port, and any worker may take the question: a value without the worker's number would
jump from one process to another, and a counter would run backwards.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from serving.models.workers import live_workers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

# Of what prometheus_client reads of a process, what there is to know of a worker, as that names it.
TOLD = ("resident_memory_bytes", "cpu_seconds", "start_time_seconds", "open_fds")
PREFIX = "flightline_worker"


def worker_resources(state: Path) -> str:
    """Prometheus text, one sample a live worker of the state folder."""
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Workers(state))
    return generate_latest(registry).decode()


class _Workers:
    def __init__(self, state: Path) -> None:
        self._state = state

    def collect(self) -> "Iterator[Metric]":
        from prometheus_client import ProcessCollector
        from prometheus_client.core import Metric

        found: dict[str, Metric] = {}
        for worker in sorted(live_workers(self._state)):
            collector = ProcessCollector(PREFIX, pid=lambda worker=worker: worker, registry=None)  # type: ignore[misc]
            for told in collector.collect():
                name = told.name.removeprefix(f"{PREFIX}_process_")
                if name in TOLD:
                    family = found.setdefault(name, Metric(f"{PREFIX}_{name}", told.documentation, told.type))
                    for sample in told.samples:
                        suffix = "_total" if told.type == "counter" else ""
                        family.add_sample(f"{PREFIX}_{name}{suffix}", {"worker": worker}, sample.value)
        yield from found.values()
