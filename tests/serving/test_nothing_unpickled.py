"""Nothing is ever unpickled, compiled or executed for a caller: Python's own audit events say so (M9).

The hook is installed by `sitecustomize`, before the first import of the service, and cannot be removed.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.serving.http.bad_inputs.form import ROW
from tests.serving.http.bad_inputs.table import CASES
from tests.serving.http.bad_inputs.wire import WIRE
from tests.serving.http.bad_inputs.world import releases
from tests.serving.real import PYTHON, Real, running, until

if not PYTHON.exists():
    pytest.skip("NO .venv-serving: `make test` makes it; nothing is audited", allow_module_level=True)

PATIENCE = 60  # seconds, until what was answered has been written beside a busy test suite
NEVER = "pickle.find_class"
# What importing a module does, too, and what therefore must be seen no more once everything is imported.
LATER = ("exec", "compile", "marshal.loads", "os.system", "os.exec", "os.fork", "subprocess.Popen", "import")
HOOK = """
import os, sys
watched = {watched!r}
file = os.open({file!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def hook(event, arguments):
    if event in watched:
        os.write(file, (event + " " + ascii(arguments)[:200] + "\\n").encode())
sys.addaudithook(hook)
"""
# A service with a defect put in: what a GET of /models does besides answering.
DEFECT = """
import collections, pickle, sys
import serving.http.pages as pages
from serving.__main__ import main
models, sent = pages.Pages.models, pickle.dumps(collections.OrderedDict())
async def defective(self, request):
    {defect}
    return await models(self, request)
pages.Pages.models = defective
sys.exit(main())
"""
# Requests that httpx itself refuses to send, or would wait for; the table of the wire has their like.
UNSENT = re.compile(r"large by .*|connect predict|path with a nul")


@pytest.fixture
def audited(tmp_path, build_release) -> Callable[..., "contextmanager[tuple[Real, Callable[[], list[str]]]]"]:
    """A service under audit, and what has been seen so far."""

    @contextmanager
    def start(defect: str = "") -> Iterator[tuple[Real, Callable[[], list[str]]]]:
        seen, hooks = tmp_path / "events.txt", tmp_path / "hooks"
        hooks.mkdir()
        (hooks / "sitecustomize.py").write_text(HOOK.format(watched={NEVER, *LATER}, file=str(seen)))
        with running(
            tmp_path,
            releases(tmp_path / "releases", build_release),
            environment={"PYTHONPATH": str(hooks)},
            command=("-c", DEFECT.format(defect=defect)) if defect else ("-m", "serving"),
        ) as real:
            yield real, lambda: seen.read_text().splitlines()

    return start


def good(real: Real) -> None:
    """Everything once that is answered well, and one of each kind of refusal, so that all is imported."""
    for path in (
        "/models",
        "/models/toy/contract",
        "/status",
        "/docs",
        "/openapi.json",
        "/metrics",
        "/readyz",
    ):
        assert real.client.get(path).status_code == 200
    assert real.client.post("/predict", json={"row": ROW}).status_code == 200
    assert real.client.post("/predict_batch", json={"rows": [ROW] * 500}).status_code == 200
    assert real.client.post("/predict/label", json={"data": [[1, 2]]}).status_code == 200
    for name in ("empty body", "feature twice", "unknown feature", "unknown model", "gzip", "unknown path"):
        refused(real, name)


def refused(real: Real, name: str) -> int:
    """The status of one case of the table."""
    return real.client.request(**CASES[name].request).status_code


def test_no_caller_makes_the_service_unpickle_or_execute(audited) -> None:
    """Start, load, predict: no class is ever looked up by a pickle. The whole table: no code runs, either."""
    with audited() as (real, seen):
        good(real)
        until(
            lambda: real.client.get("/status").json()["prediction_log"]["written"] > 500, PATIENCE, "the log"
        )
        good(real)
        before = seen()
        assert len(before) > 100, "the hook saw no import: it is not installed"
        sent = 0
        for name, bad in CASES.items():
            if bad.clock == "wall" and not UNSENT.fullmatch(name):
                assert 400 <= refused(real, name) < 500, name  # a few are refused sooner here
                sent += 1
        for wire in (one for one in WIRE.values() if not one.slow):
            with real.connect() as connection:
                connection.sendall(wire.content)
                assert connection.recv(65536).startswith(b"HTTP/1.1 4")
                sent += 1
        good(real)
        after = seen()
    assert sent > 400
    assert [event for event in after if event.startswith(NEVER)] == []
    assert after[len(before) :] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("defect", "event"),
    [
        ("pickle.loads(sent)", "pickle.find_class ('collections', 'OrderedDict')"),
        ("exec(request.query_params['code'])", "exec "),
        ("__import__('os').system('true')", "os.system "),
    ],
)
def test_an_unpickled_or_executed_body_would_be_seen(audited, defect, event) -> None:
    """The same hook over a service that does it."""
    with audited(defect) as (real, seen):
        before = len(seen())
        assert real.client.get("/models?code=pass").status_code == 200
        assert [line for line in seen()[before:] if line.startswith(event)]
