"""Shadows answer what callers were answered, and no caller notices (S5)."""

import threading
from typing import Any

import msgspec
import polars as pl
import pytest

from serving.models import changes
from serving.models.desired import read_desired, write_desired
from serving.models.predictor import Predictor
from serving.recording import mirror
from tests.serving.recording.shadows import count, logged, shadowed, until

pytestmark = pytest.mark.unit

ROW = {"width": 1.5, "height": 0.25, "letter": "A"}


def test_a_shadow_answers_what_the_caller_was_answered(host, make_bundle) -> None:
    """The caller hears of the champion alone; the log has both, by role, with one request id."""
    shadowed(host, make_bundle(seed=2))
    answer = host.client.post("/predict", {"row": ROW, "id": "UA1"}).json()
    table = logged(host).sort("role")
    assert answer["version"] == "1"
    assert table["role"].to_list() == ["answer", "shadow"]
    assert table["version"].to_list() == ["1", "2"]
    assert table["request_id"].to_list() == [answer["request_id"]] * 2
    assert table["entity_id"].to_list() == ["UA1"] * 2
    assert table["feature.width"].to_list() == [1.5, 1.5]
    assert count(host, "agreed") + count(host, "differed") == 1


def test_a_shadow_says_what_it_would_say_to_a_caller(host, make_bundle) -> None:
    """The same labels as when it is asked by name, counted as agreement or not."""
    shadowed(host, make_bundle(seed=2))
    rows = [{**ROW, "width": width / 10} for width in range(40)]
    champion = host.client.post("/predict_batch", {"rows": rows}).json()["predictions"]
    named = host.client.post("/predict_batch?version=2", {"rows": rows}).json()["predictions"]
    table = logged(host).filter(pl.col("role") == "shadow")
    assert table["label"].to_list() == named
    same = sum(one == other for one, other in zip(champion, named, strict=True))
    assert (count(host, "agreed"), count(host, "differed")) == (same, 40 - same)


def test_a_share_of_the_requests_is_mirrored(host, make_bundle) -> None:
    """By the draw of the request id."""
    shadowed(host, make_bundle(seed=2), share=30)
    ids = [f"r{number}" for number in range(60)]
    for one in ids:
        host.client.post("/predict", {"row": ROW}, **{"X-Request-Id": one})
    mirrored = set(logged(host).filter(pl.col("role") == "shadow")["request_id"])
    assert mirrored == {one for one in ids if host.versions.current.mirrors("toy", one)}
    assert 0 < len(mirrored) < 60


def test_a_request_for_the_shadow_itself_is_not_mirrored(host, make_bundle) -> None:
    """Who names a version that answers nobody else is testing it."""
    shadowed(host, make_bundle(seed=2))
    assert host.client.post("/predict?version=2", {"row": ROW}).json()["version"] == "2"
    assert logged(host)["role"].to_list() == ["answer"]


def test_a_failing_shadow_harms_nobody(host, make_bundle, monkeypatch) -> None:
    """It is counted, the caller is answered, and the next shadow answers."""
    shadowed(host, make_bundle(seed=2))
    predict = Predictor.predict

    def failing(self: Predictor, *arrays: Any) -> Any:
        if self.version == "2":
            raise ValueError("nobody thought of this")
        return predict(self, *arrays)

    with monkeypatch.context() as patch:
        patch.setattr(Predictor, "predict", failing)
        assert host.client.post("/predict", {"row": ROW}).status_code == 200
        until(lambda: count(host, "failed") == 1)
    assert host.client.post("/predict", {"row": ROW}).status_code == 200
    assert logged(host)["role"].to_list().count("shadow") == 1


def test_a_row_that_the_shadow_refuses_is_counted_and_the_others_are_answered(host, make_bundle) -> None:
    """Its contract may be narrower: that is worth knowing before it answers callers."""
    toy = make_bundle().contract
    low = msgspec.structs.replace(toy.features[0], maximum=9.0)
    narrow = msgspec.structs.replace(toy, features=(low, *toy.features[1:]))
    release = make_bundle(contract=narrow, seed=2)
    state = changes.load(
        read_desired(host.settings.state), "toy", "2", str(release.path), release.digest, older_contract=True
    )
    model = msgspec.structs.replace(state.models["toy"], mirror={"2": 100.0})
    wanted = msgspec.structs.replace(state, generation=2, models={"toy": model})
    write_desired(host.settings.state, wanted)
    host.versions.poll()
    rows = [ROW, {**ROW, "width": 9.5}, ROW]
    assert host.client.post("/predict_batch", {"rows": rows}).status_code == 200
    until(lambda: count(host, "failed") == 1)
    assert logged(host)["role"].to_list().count("shadow") == 2


def test_callers_do_not_wait_for_a_slow_shadow(host, make_bundle, monkeypatch) -> None:
    """While the shadow hangs, callers are answered; what finds no room is dropped and counted."""
    shadowed(host, make_bundle(seed=2))
    monkeypatch.setattr(host.log, "_room", 5)
    predict, go_on = Predictor.predict, threading.Event()

    def hanging(self: Predictor, *arrays: Any) -> Any:
        if self.version == "2":
            assert go_on.wait(20)
        return predict(self, *arrays)

    monkeypatch.setattr(Predictor, "predict", hanging)
    try:
        for _ in range(8):
            assert host.client.post("/predict", {"row": ROW}).status_code == 200
        assert count(host, "dropped") == 3
    finally:
        go_on.set()
    assert logged(host)["role"].to_list().count("shadow") == 5


def test_the_end_does_not_wait_for_shadows_for_long(host, make_bundle, monkeypatch) -> None:
    """What is still to be asked is dropped and counted: what callers got must be written before a kill."""
    shadowed(host, make_bundle(seed=2))
    monkeypatch.setattr(mirror, "LAST_SECONDS", 0.0)
    predict, asked = Predictor.predict, threading.Event()

    def slow(self: Predictor, *arrays: Any) -> Any:
        if self.version == "2":
            asked.set()
            until(lambda: host.log._until < float("inf"))  # the end has begun
        return predict(self, *arrays)

    monkeypatch.setattr(Predictor, "predict", slow)
    for _ in range(4):
        assert host.client.post("/predict", {"row": ROW}).status_code == 200
    assert asked.wait(20)
    assert logged(host)["role"].to_list().count("shadow") == 1
    assert count(host, "dropped") == 3


def test_without_a_mirror_there_is_no_thread(host) -> None:
    """Who has no shadow pays for none."""
    host.client.post("/predict", {"row": ROW})
    assert not [thread for thread in threading.enumerate() if thread.name == "shadows"]


def test_long_copies_are_answered_in_parts(host, make_bundle, monkeypatch) -> None:
    """No run of a shadow is long."""
    monkeypatch.setattr(mirror, "MOST_AT_ONCE", 3)
    shadowed(host, make_bundle(seed=2))
    host.client.post("/predict_batch", {"rows": [ROW] * 8})
    assert logged(host)["role"].to_list().count("shadow") == 8


def test_a_canary_is_no_shadow_of_itself(host, make_bundle) -> None:
    """Of a version that answers a part, only what others answered is asked again."""
    shadowed(host, make_bundle(seed=2))
    state = changes.set_split(read_desired(host.settings.state), "toy", {"1": 50, "2": 50})
    write_desired(host.settings.state, msgspec.structs.replace(state, generation=state.generation + 1))
    host.versions.poll()
    answered = [host.client.post("/predict", {"row": ROW}).json()["version"] for _ in range(40)]
    table = logged(host)
    shadows = table.filter(pl.col("role") == "shadow")
    assert set(answered) == {"1", "2"}
    assert shadows.height == answered.count("1") == count(host, "agreed") + count(host, "differed")
    assert set(shadows["version"]) == {"2"}


def test_a_shadows_run_is_timed(host, make_bundle) -> None:
    """Whoever compares versions needs to know how long the one takes that nobody waits for."""
    shadowed(host, make_bundle(seed=2))
    host.client.post("/predict", {"row": ROW})
    host.log.close()
    labels = {"model": "toy", "version": "2"}
    assert host.log.registry.get_sample_value("flightline_shadow_seconds_count", labels) == 1
    assert host.log.registry.get_sample_value("flightline_shadow_seconds_sum", labels) > 0
