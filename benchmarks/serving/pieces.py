"""benchmarks.serving.pieces: a request's cost in the server's own code, piece by piece, without a network.

Run by the ledger in the environment that serves. uvicorn's protocol gets the bytes of requests and writes to
a transport that keeps nothing; each stage does what the one before it does, and one thing more.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import uvicorn
import uvloop
from uvicorn.server import ServerState

from benchmarks.serving.apps.echo import app as echo
from benchmarks.serving.place import prepare, rows
from contract.attestation import read_trust
from contract.bundle import open_bundle
from serving.http.compiled import Plan
from serving.http.decoders import all_once
from serving.http.hot import SINGLE, Hot
from serving.http.limits import Limits
from serving.http.whole import OFFER, Offer
from serving.http.wire import protocol
from serving.models.desired import DesiredVersion
from serving.models.predictor import Predictor
from serving.models.snapshot import Served, ServedModel, Snapshot
from serving.recording.metrics import Metrics
from serving.recording.prediction_log import PredictionLog
from serving.recording.tally import Tally
from serving.settings import Settings
from serving.tracing import Traced

ROUNDS = 9  # of each stage, of which the least counts: whatever else runs only adds
WARM = 50  # turns


class Nowhere(asyncio.Transport):
    """A connection whose other end takes everything."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keep nothing."""

    def is_closing(self) -> bool:
        """Never."""
        return False

    def close(self) -> None:
        """Go on: nobody listens anyway."""


class Unlogged:
    """In the place of the prediction log."""

    def append(self, answered: Any) -> None:
        """Keep nothing."""


class Constant:
    """In the place of onnxruntime's session."""

    def __init__(self, classes: int) -> None:
        """Answer the first of so many."""
        self._classes = classes

    def run(self, _: Any, inputs: dict[str, Any]) -> tuple[Any, Any]:
        """The same to every row."""
        count = len(next(iter(inputs.values())))
        return np.zeros(count, np.int64), np.full((count, self._classes), 0.5470, np.float32)


class Fixed:
    """In the place of the versions: one that stays."""

    def __init__(self, predictor: Predictor) -> None:
        """Serve it."""
        desired = DesiredVersion(release="", digest=predictor.bundle.digest)
        served = Served(predictor, desired, datetime.now(UTC))
        model = ServedModel(served, {predictor.version: served})
        name = predictor.contract.model
        self.current = Snapshot(1, name, {name: served}, loaded={name: model})


async def cost(app: Any, state: dict[str, Any], requests: list[bytes], connections: int, turns: int) -> float:
    """Microseconds of this thread's CPU a request, where all connections ask in each turn."""
    config = uvicorn.Config(app, ws="none", access_log=False, server_header=False, log_level="warning")
    config.load()
    server, make = ServerState(), protocol({})
    server.default_headers = [(b"date", b"Mon, 01 Apr 2013 10:00:00 GMT")]
    made = [make(config=config, server_state=server, app_state=state) for _ in range(connections)]
    for one in made:
        one.connection_made(Nowhere())
    asked = 0

    async def turn() -> None:
        nonlocal asked
        for one in made:
            one.data_received(requests[asked % len(requests)])
            asked += 1
        while server.total_requests < asked:  # noqa: ASYNC110 - uvicorn says it in no other way
            await asyncio.sleep(0)

    for _ in range(WARM):
        await turn()
    found = []
    for _ in range(ROUNDS):
        began = time.thread_time()
        for _ in range(turns):
            await turn()
        found.append(time.thread_time() - began)
    for one in made:
        one.connection_lost(None)
    return min(found) / turns / connections * 1e6


async def stages(
    predictor: Predictor, requests: list[bytes], log: Any, connections: int, turns: int
) -> dict[str, float]:
    """Microseconds a request by stage."""
    metrics = Metrics()
    settings = Settings.from_environment({"FLIGHTLINE_STATE": "nowhere", "FLIGHTLINE_TRUST": "nothing"})
    constant = replace(predictor, _session=Constant(len(predictor.contract.classes)))
    plan = Plan(predictor, Tally())

    def hot(served: Predictor, into: Any) -> Hot:
        return Hot(_nobody, settings, Fixed(served), into, metrics, limits=Limits())  # type: ignore[arg-type]

    def at_once(*asked: Any) -> bool:
        asked[-1].answer(plan.fields, b"0" * 32, b"{}")
        return True

    def decoded(*asked: Any) -> bool:
        data = asked[2]
        plan.decoders.one(data)
        return all_once(data, 1 + plan.width) and at_once(*asked)

    unrun, unlogged, whole = hot(constant, Unlogged()), hot(predictor, Unlogged()), hot(predictor, log)
    takes: list[tuple[str, Callable[..., bool]]] = [
        ("HTTP in and out", at_once),
        ("and the body decoded", decoded),
        ("and gathered, packed, counted, rendered", unrun.take),
        ("and run by onnxruntime", unlogged.take),
        ("and handed to the prediction log", whole.take),
    ]
    found = {"the echo, an ASGI task": await cost(echo, {}, requests, connections, turns)}
    for name, take in takes:
        state = {OFFER: Offer(SINGLE.encode(), take)}
        found[name] = await cost(_nobody, state, requests, connections, turns)
    found["all of it in an ASGI task"] = await cost(Traced(whole, None), {}, requests, connections, turns)
    for one in (unrun, unlogged, whole):
        one.close()
    return found


async def _nobody(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001 - an application's signature
    raise AssertionError("a request was not taken")


def main(arguments: list[str]) -> int:
    """Print the stages as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving.pieces", description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--connections", type=int, default=16, help="that ask in one turn of the loop (16)")
    parser.add_argument("--turns", type=int, default=100, help="of each round (100)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="flightline-") as name:
        place = prepare(options.bundle, Path(name))
        digest = open_bundle(place.bundle).digest
        predictor = Predictor.load(place.bundle.parent, digest, "1", read_trust(place.trust))
        bodies = [msgspec.json.encode({"row": row}) for row in rows(place.bundle)]
        head = b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        requests = [head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body) for body in bodies]
        log = PredictionLog(Path(name) / "log", "ledger")
        log.start()
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                found = runner.run(stages(predictor, requests, log, options.connections, options.turns))
        finally:
            log.close()
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
