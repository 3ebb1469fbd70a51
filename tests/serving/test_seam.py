"""What the service leans on inside of BentoML: if one of these fails, read serving/service.py first."""

import asyncio
import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from serving.drain import Drain

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-serving" / "bin" / "python"
CHANGED = "BentoML has changed where serving/service.py stands in front of it: "

# Asked of the environment that serves.
FACTS = """
import importlib.metadata, inspect, json
import bentoml
from _bentoml_impl.server.app import ServiceAppFactory
from _bentoml_impl.worker import service as worker
import uvicorn
from starlette.applications import Starlette
from serving.service import BENTOML_PATHS, Flightline, SeamService

own = super(SeamService, Flightline).to_asgi()
config = uvicorn.Config(Flightline.to_asgi())
config.load()
print(json.dumps({
    "version": importlib.metadata.version("bentoml"),
    "class": type(Flightline) is SeamService,
    "overrides": [name for name in ("__call__", "to_asgi") if name in vars(bentoml.Service)],
    "to_asgi": list(inspect.signature(bentoml.Service.to_asgi).parameters),
    "instance": "self.service()" in inspect.getsource(ServiceAppFactory.create_instance),
    "application": ".to_asgi(" in inspect.getsource(worker),
    "protocol": config.http_protocol_class.func.__name__,
    "websockets": config.ws_protocol_class is not None,
    "server": "uvicorn.Server(config).run(sockets=[socket])" in inspect.getsource(worker),
    "listener": [option.name for option in worker.main.params if option.name == "fd"],
    "missing": sorted(BENTOML_PATHS - {getattr(route, "path", "") for route in own.routes}),
}))
"""


@pytest.fixture(scope="module")
def facts() -> Any:
    """What BentoML's code says about itself."""
    if not PYTHON.exists():
        pytest.skip("NO .venv-serving: `make test` makes it; the seam goes untested")
    done = subprocess.run(
        [PYTHON, "-c", FACTS], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, f"{CHANGED}{done.stderr[-500:]}"
    return json.loads(done.stdout.splitlines()[-1])


def test_bentoml_is_of_the_series_that_the_seam_was_made_for(facts) -> None:
    """Another minor release may move what is inner."""
    version = facts["version"]
    assert version.startswith("1.4."), f"{CHANGED}it is {version}, and the seam knows 1.4"


def test_a_service_class_may_be_named(facts) -> None:
    """`bentoml.service(service_class=…)` makes the service of that class."""
    assert facts["class"], f"{CHANGED}service_class is not what makes the service"


def test_the_two_methods_that_are_overridden_are_there(facts) -> None:
    """`__call__` makes the instance, and `to_asgi(is_main)` the application."""
    assert facts["overrides"] == ["__call__", "to_asgi"], f"{CHANGED}Service has {facts['overrides']}"
    assert facts["to_asgi"] == ["self", "is_main"], f"{CHANGED}to_asgi takes {facts['to_asgi']}"


def test_the_server_makes_the_instance_and_its_application_by_them(facts) -> None:
    """Both happen in BentoML's own code: without them no request would reach the seam."""
    assert facts["instance"], f"{CHANGED}the instance is made in another way"
    assert facts["application"], f"{CHANGED}a worker makes its application in another way"


def test_what_is_left_to_bentoml_is_answered_by_it(facts) -> None:
    """Every path that the seam passes on is a route of BentoML's application."""
    assert not facts["missing"], f"{CHANGED}it has no {facts['missing']}"


def test_a_worker_has_our_protocol_and_knows_its_listener(facts) -> None:
    """The protocol is from uvicorn's table, and the socket's number an option of the worker (S1, M9)."""
    assert facts["protocol"] == "WireProtocol", f"{CHANGED}a worker speaks {facts['protocol']}"
    assert not facts["websockets"], f"{CHANGED}a worker speaks another protocol, too"
    assert facts["server"], f"{CHANGED}a worker makes its server in another way"
    assert facts["listener"] == ["fd"], f"{CHANGED}a worker is told its socket in another way"


@pytest.mark.unit
def test_the_first_sigterm_is_held_back_and_the_second_is_not() -> None:
    """When the seconds have passed, who ends beside the server hears of the first, and then the server."""
    heard: list[int] = []
    beside: list[int] = []
    before = signal.getsignal(signal.SIGTERM)
    arrived = asyncio.Event()

    def server(number: int, _: Any) -> None:
        heard.append(number)
        arrived.set()

    async def scene() -> None:
        drain = Drain(0.05, ending=lambda: beside.append(len(heard)))
        drain.install()
        assert not drain.draining
        signal.raise_signal(signal.SIGTERM)
        assert drain.draining
        assert heard == []
        await asyncio.wait_for(arrived.wait(), 20)
        assert beside == [0]
        signal.raise_signal(signal.SIGTERM)
        assert heard == [signal.SIGTERM] * 2

    try:
        signal.signal(signal.SIGTERM, server)
        asyncio.run(scene())
    finally:
        signal.signal(signal.SIGTERM, before)


def test_the_server_ends_though_what_ends_beside_it_fails(caplog) -> None:
    """Else a process would never hear of SIGTERM."""
    heard: list[int] = []

    def failing() -> None:
        raise RuntimeError("no loop")

    asyncio.run(Drain(0, ending=failing)._end(lambda number, _: heard.append(number), signal.SIGTERM))
    assert heard == [signal.SIGTERM]
    assert "what ends beside the server failed" in caplog.text


# The seam's offer for the shorter way, asked in three states of the service.
OFFERED = """
import asyncio, json
from types import SimpleNamespace
from serving.http.whole import OFFER
from serving.service import Flightline

class Enough(Exception):
    pass

async def stop(*_):
    raise Enough

app, state = Flightline.to_asgi(), {}
try:
    asyncio.run(app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": state}, stop, stop))
except Enough:
    pass
found = []
for spans, draining in ((None, False), (object(), False), (None, True)):
    Flightline.instance = SimpleNamespace(
        spans=spans, drain=SimpleNamespace(draining=draining), hot=SimpleNamespace(take=lambda *_: True)
    )
    found.append(state[OFFER].take({}, b"", b"", None))
statuses = []
Flightline.instance = SimpleNamespace(metrics=SimpleNamespace(refused=statuses.append))
state[OFFER].refused(431)
print(json.dumps({"path": state[OFFER].path.decode(), "taken": found, "refused": statuses}))
"""


@pytest.fixture(scope="module")
def offered() -> Any:
    """What the offer does in each of them."""
    if not PYTHON.exists():
        pytest.skip("NO .venv-serving: `make test` makes it; the seam's offer goes untested")
    done = subprocess.run(
        [PYTHON, "-c", OFFERED], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-500:]
    return json.loads(done.stdout.splitlines()[-1])


def test_nothing_is_taken_that_needs_a_span_or_ends_its_connection(offered) -> None:
    """With spans, and while the service drains, a request is an ASGI call; else it has a shorter way."""
    assert (offered["path"], offered["taken"]) == ("/predict", [True, False, False])


def test_what_the_protocol_refuses_is_counted_by_the_instance(offered) -> None:
    """The one that answers has the metrics."""
    assert offered["refused"] == [431]
