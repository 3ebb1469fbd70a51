"""A rollout over a service of two workers: both count, and the death of one decides nothing."""

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import msgspec
import pytest

from pipelines.delivery import placement, rollout_decision
from pipelines.delivery.placement import VersionRefusedError
from pipelines.delivery.rollout_metrics import counted, read_metrics
from pipelines.delivery.rollout_policy import Step
from pipelines.delivery.services import ensure_service, running, stop_service
from pipelines.machine.processes import family
from pipelines.promote import promote
from serving.models.desired import read_acks
from tests.pipelines.delivery import graphs
from tests.pipelines.delivery.agreement import ROW, agrees, answered
from tests.pipelines.delivery.conftest import QUICK, World, quiet, settings_in
from tests.pipelines.delivery.test_processes import eventually
from tests.pipelines.delivery.test_rollouts import only_of_a_canary

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.lengthy]

# No probe of the deployer's: what is counted is what these callers have asked, and they count as well.
CALLED = msgspec.structs.replace(
    QUICK,
    shadow=Step(percent=100, requests=100, longest_s=120),
    canary=(Step(percent=50, requests=200, longest_s=120),),
    callers=100,
    probes=0,
    failed=0.01,
    p99_floor_ms=1_000,
)
TALL = {**ROW, "height": 60.0}  # a hasty version cannot answer it
PAUSE_S = 0.02  # between two requests of a caller: two of them ask about a hundred times a second
# What a worker counts it tells the others once a second, and a killed one no more: two seconds of answers of
# the callers, of which the canary has half.
LAG = 2 * 100 // 2


@pytest.fixture
def pair(world: World, tmp_path: Path) -> Iterator[World]:
    """Staging, and a production of two workers; MLflow is the other tests'."""
    there = {"MLFLOW_TRACKING_URI": world.settings.tracking_uri}
    one = settings_in(tmp_path / "var", **there)
    production = msgspec.structs.replace(one.environment("production"), workers=2)
    settings = replace(one, environments={**one.environments, "production": production})
    try:
        for name in ("staging", "production"):
            ensure_service(name, settings, quiet)
        yield World(settings, tmp_path)
    finally:
        for name in ("staging", "production"):
            stop_service(name, settings)


class Callers:
    """Two callers who come back on new connections, and note which version and which worker answered."""

    def __init__(self, world: World, model: str) -> None:
        self.url, self.model = world.settings.service_url("production"), model
        self.answers: Counter[str] = Counter()  # by version, or by what became of the request
        self.workers: Counter[str] = Counter()  # that answered for the canary
        self.row = ROW
        self.ended = threading.Event()
        self._lock = threading.Lock()

    def run(self) -> None:
        """Ask until it is ended."""
        while not self.ended.is_set():
            with httpx.Client(base_url=self.url, timeout=20, trust_env=False) as client:
                try:
                    worker = str(client.get("/status").json()["worker"])
                    for _ in range(20):
                        self._ask(client, worker)
                except httpx.TransportError as error:
                    self._note(type(error).__name__, "")

    def _ask(self, client: httpx.Client, worker: str) -> None:
        answer = client.post("/predict", params={"model": self.model}, json={"row": self.row})
        found = answer.json()["version"] if answer.status_code == 200 else str(answer.status_code)
        self._note(found, worker)
        self.ended.wait(PAUSE_S)

    def _note(self, what: str, worker: str) -> None:
        with self._lock:
            self.answers[what] += 1
            if what == "2":
                self.workers[worker] += 1


@contextmanager
def calling(world: World, model: str) -> Iterator[Callers]:
    """Two callers at work, for the length of the block."""
    callers = Callers(world, model)
    threads = [threading.Thread(target=callers.run) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield callers
    finally:
        callers.ended.set()
        for thread in threads:
            thread.join(60)


def workers(world: World) -> list[int]:
    """The workers that have acknowledged a state."""
    service = running("production", world.settings)
    assert service is not None
    acks = read_acks(world.settings.state("production")).keys()
    return sorted(pid for pid in family(service) if str(pid) in acks)


@pytest.fixture(autouse=True)
def _called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "read_rollout", lambda *_: CALLED)


def test_what_both_workers_answered_is_counted(pair: World) -> None:
    """Whichever worker is asked: a canary has as many answers as the callers have got of it."""
    model = "counted"
    pair.promote(model)
    pair.stage(model, **graphs.alike(model))
    assert eventually(lambda: len(workers(pair)) == 2, 60)
    seen: dict[str, int] = {}
    with calling(pair, model) as callers:

        def note(line: str) -> None:
            if "ok   canary" in line:
                seen["2"] = callers.answers["2"]

        deployed = promote(model, pair.settings, "2", actor="ada", say=note)
    canary = deployed.steps[-1]
    assert canary.probes == 0
    assert abs(canary.answered - seen["2"]) <= LAG, (canary, seen)
    assert len(callers.workers) == 2, "both have answered"
    assert min(callers.workers.values()) > 20
    assert set(callers.answers) == {"1", "2"}, "and nobody was refused"
    url = pair.settings.service_url("production")

    def told() -> int:
        return counted(read_metrics(url), model, ("2",))[0].latencies.total

    # The suite after the last step asks the version, too, so that there are more of them by now.
    assert eventually(lambda: told() >= callers.answers["2"], 10)
    agrees(pair, model, "2")


@pytest.mark.parametrize("version", ["sound", "hasty"])
def test_a_worker_that_dies_in_a_canary_decides_nothing(pair: World, version: str) -> None:
    """Kill -9 of one of two: a sound version comes to all; one that fails callers goes back, and for that."""
    model = f"bereft-{version}"
    pair.promote(model)
    pair.stage(model, **(graphs.alike if version == "sound" else graphs.hasty)(model))
    assert eventually(lambda: len(workers(pair)) == 2, 60)
    victim = workers(pair)[0]
    ended: dict[str, object] = {}

    def roll_out() -> None:
        try:
            ended["steps"] = promote(model, pair.settings, "2", actor="ada", say=quiet).steps
        except VersionRefusedError as error:
            ended["refused"], ended["steps"] = str(error), error.steps

    with calling(pair, model) as callers, pytest.MonkeyPatch.context() as patch:
        if version == "hasty":  # as if nobody had asked the shadow for a tall row
            patch.setattr(rollout_decision, "_shares", only_of_a_canary)
        rollout = threading.Thread(target=roll_out)
        rollout.start()
        assert eventually(lambda: callers.answers["2"] >= 20, 120)
        os.kill(victim, signal.SIGKILL)
        if version == "hasty":
            callers.row = TALL
        rollout.join(240)
        assert not rollout.is_alive(), "it hangs"
    if version == "sound":
        assert [step.verdict for step in ended["steps"]] == ["proceed"] * 3  # type: ignore[attr-defined]
        assert ended["steps"][-1].answered >= 200  # type: ignore[index]
        agrees(pair, model, "2")
    else:
        assert "could not be answered" in str(ended["refused"])
        assert "canary 50 %" in str(ended["refused"])
        agrees(pair, model, "1")
    lost = sum(count for what, count in callers.answers.items() if what.endswith("Error"))
    assert lost <= 4, callers.answers  # what the two had in hand, and a connection each
    assert eventually(lambda: len(set(workers(pair)) - {victim}) == 2, 60)
    assert answered(pair, model) == {"2" if version == "sound" else "1"}
