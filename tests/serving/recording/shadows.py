"""A host with a shadow, and what became of its rows."""

import threading
import time
from typing import Any

import msgspec
import polars as pl

from contract.segments import live_segments
from serving.models import changes
from serving.models.desired import read_desired, write_desired


def shadowed(host: Any, release: Any, share: float = 100) -> None:
    """Have version 2, of `release`, answer `share` percent of the requests as a shadow."""
    state = changes.load(read_desired(host.settings.state), "toy", "2", str(release.path), release.digest)
    state = changes.set_mirror(state, "toy", {"2": share})
    write_desired(host.settings.state, msgspec.structs.replace(state, generation=state.generation + 1))
    host.versions.poll()
    assert host.versions.current.refused == {}


def count(host: Any, outcome: str) -> float:
    """Rows of the shadow with that outcome."""
    labels = {"model": "toy", "version": "2", "outcome": outcome}
    return host.log.registry.get_sample_value("flightline_shadow_rows_total", labels) or 0.0


def logged(host: Any) -> pl.DataFrame:
    """The whole log, once it is closed."""
    host.log.close()
    segments = live_segments(host.settings.predictions / "toy")
    return pl.concat(map(pl.read_parquet, segments), how="diagonal")  # a shadow may have other features


def until(condition: Any) -> None:
    """Wait for `condition`, at most 20 s."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        threading.Event().wait(0.01)
