"""Replayed flights without their stored features: every way to ask gives the offline answer (S1, S4)."""

import numpy as np
import polars as pl
import pytest

from pipelines.building.walk import in_order
from pipelines.materialise import materialise
from serving.features.facts import microseconds
from serving.features.store import Event
from tests.serving.period import (
    CONTRACT,
    NAMES,
    SENT,
    START,
    answer,
    read_sound,
    release_of,
    sample,
    streams,
)
from tests.serving.protocol.stored import column, of_grpc, of_predict, of_rest, over_grpc, to_message
from training.models.flights import MODEL

FLIGHTS = 100

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sound():
    """The year's tables."""
    return read_sound()


@pytest.fixture
def flights(sound):
    """A hundred flights of a day and a half, with their features offline."""
    return sample(sound, FLIGHTS)


@pytest.fixture
def host(make_host, build_release, tmp_path, sound, flights):
    """A service of the flights contract over a store with all events up to the last flight."""
    made = make_host("request")
    made.serve(release_of(build_release, tmp_path / "releases" / "0", flights))
    store = made.completer.store
    materialise(MODEL, MODEL.known(sound, START), START, store, say=lambda _: None)
    happened = in_order(streams(sound, START, flights["at"].max()), CONTRACT)
    events = [
        Event(f"{stream}-{number}", stream, microseconds(at), {k: v for k, v in facts.items() if k != "at"})
        for number, (at, stream, facts) in enumerate(happened)
    ]
    for first in range(0, len(events), 500):
        made.completer.accept([CONTRACT], events[first : first + 500])
    return made


def test_a_hundred_flights_over_every_way(host, flights):
    """/predict_batch, V2 over REST and over gRPC: one answer, and in the log the offline values."""
    moments = [at.isoformat() for at in flights["at"]]
    rows, ids = flights.select(SENT).to_dicts(), flights["id"].to_list()
    keys = flights.select(CONTRACT.keys)
    plain = {"rows": rows, "keys": keys.to_dicts(), "at": moments, "ids": ids}
    predicted = host.client.post("/predict_batch", plain)
    assert predicted.status_code == 200, predicted.text
    kinds = {feature.name: "FP32" if feature.kind == "number" else "BYTES" for feature in CONTRACT.features}
    inputs = [column(name, kinds[name], [row[name] for row in rows]) for name in SENT]
    inputs += [column("id", "BYTES", ids), column("at", "BYTES", moments)]
    for name in CONTRACT.keys:
        kind = "BYTES" if keys[name].dtype == pl.String else "INT64"
        inputs.append(column(f"keys.{name}", kind, keys[name].to_list()))
    rest = host.client.post("/v2/models/flights/infer", {"inputs": inputs})
    assert rest.status_code == 200, rest.text
    rpc = over_grpc(host, to_message({"inputs": inputs}, "flights"))
    wanted = of_predict(predicted.json())
    assert of_rest(rest.json()) == of_grpc(rpc) == wanted
    labels, scores = answer(flights)
    assert wanted[0] == labels
    assert np.allclose(wanted[1], scores.ravel(), atol=1e-6, rtol=0)  # 32 bits of another batch

    host.log.close()
    log = pl.read_parquet(host.settings.predictions / "flights" / "*.parquet")
    assert log.height == 3 * FLIGHTS
    for name in NAMES:
        found = log.group_by("entity_id").agg(pl.col(f"feature.{name}").unique()).sort("entity_id")
        assert found[f"feature.{name}"].to_list() == [[v] for v in flights.sort("id")[name].to_list()], name
    assert log["filled"].to_list() == [NAMES] * log.height
