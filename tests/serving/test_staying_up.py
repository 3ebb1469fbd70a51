"""SIGTERM under load: unready first, then everything that was begun is finished (S1)."""

import signal
import threading
import time
from dataclasses import dataclass, field

import httpx
import pytest

from tests.serving.http.bad_inputs.form import ROW
from tests.serving.real import PYTHON, Real, running, until

pytestmark = pytest.mark.slow
if not PYTHON.exists():
    pytest.skip("NO .venv-serving: `make test` makes it; its end goes untested", allow_module_level=True)

DRAIN_SECONDS = 2.0  # long enough to be seen by who looks all the time
CALLERS = 4


@dataclass
class Heard:
    """What callers have seen, each with its moment."""

    answers: list[tuple[float, int]] = field(default_factory=list)
    readiness: list[tuple[float, int]] = field(default_factory=list)
    broken: list[tuple[float, str]] = field(default_factory=list)  # sent and never answered
    stop: threading.Event = field(default_factory=threading.Event)

    def ask(self, real: Real) -> None:
        """Predict, over one kept connection after another, until nobody listens any more."""
        with httpx.Client(base_url=f"http://127.0.0.1:{real.port}", timeout=30, trust_env=False) as client:
            while not self.stop.is_set():
                try:
                    status = client.post("/predict", json={"row": ROW}).status_code
                except httpx.ConnectError:
                    return
                except httpx.TransportError as error:
                    self.broken.append((time.monotonic(), repr(error)))
                    return
                self.answers.append((time.monotonic(), status))

    def look(self, real: Real) -> None:
        """Ask /readyz until nobody listens any more."""
        while not self.stop.is_set() and (status := real.status()):
            self.readiness.append((time.monotonic(), status))


WAYS = {
    "one worker": {"arguments": ("--workers", "1")},
    "two workers": {"arguments": ("--workers", "2")},
    "bentoml": {"command": ("-m", "bentoml", "serve", "serving.service:Flightline")},
}


@pytest.mark.parametrize("way", WAYS)
def test_unready_comes_first_and_every_request_is_answered(tmp_path, build_release, way) -> None:
    """`/readyz` says 503 while predictions are still answered, and none is lost; the exit code is 0."""
    heard = Heard()
    with running(
        tmp_path,
        [build_release(tmp_path / "release")],
        environment={
            "FLIGHTLINE_DRAIN_SECONDS": str(DRAIN_SECONDS),
            "BENTOML_HOME": str(tmp_path / "bentoml"),
        },
        **WAYS[way],
    ) as real:
        threads = [threading.Thread(target=heard.ask, args=(real,)) for _ in range(CALLERS)]
        threads.append(threading.Thread(target=heard.look, args=(real,)))
        for thread in threads:
            thread.start()
        try:
            until(lambda: len(heard.answers) > 20 * CALLERS, 60, "the load under way")
            told = time.monotonic()
            real.popen.send_signal(signal.SIGTERM)
            assert real.popen.wait(60) == 0
        finally:
            heard.stop.set()
            for thread in threads:
                thread.join()
    assert {status for _, status in heard.answers} == {200}
    # Also of those who ignore the 503 of /readyz for all of the drain, and connect at the last moment.
    assert heard.broken == []
    unready = [moment for moment, status in heard.readiness if status == 503]
    assert unready, heard.readiness[-5:]
    assert {status for moment, status in heard.readiness if moment < told} == {200}
    after = [moment for moment, _ in heard.answers if moment > unready[0]]
    assert len(after) > CALLERS, "nothing was answered once it was unready"
    assert "Traceback" not in real.output
