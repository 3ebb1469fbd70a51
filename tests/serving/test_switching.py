"""Versions change under load, and no caller notices (S5)."""

import http.client
import json
import threading
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.serving.pairs import TWO, Pair, pair
from tests.serving.processes import ROW

pytestmark = pytest.mark.slow

SWITCHES = 20
CALLERS = 4  # each on a connection it keeps; with one core for service and callers more would only queue
MOST = 100_000  # requests a caller, in case nobody stops it


class Callers:
    """Ask without a pause until they are stopped; what they were answered."""

    def __init__(self, port: int) -> None:
        """Start asking."""
        self.answers, self.wrong, self.failed = Counter[str](), list[bytes](), list[str]()
        self._port, self._stop = port, threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(CALLERS)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        body = json.dumps({"row": ROW})
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        for _ in range(MOST):
            if self._stop.is_set():
                break
            try:
                connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                data = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))
                break
            if answer.status == 200:
                self.answers[json.loads(data)["digest"]] += 1
            else:
                self.wrong.append(data)
        connection.close()

    def stop(self) -> None:
        """Wait for the last answers."""
        self._stop.set()
        for thread in self._threads:
            thread.join()


@pytest.fixture(params=[1, 2], ids=["one-worker", "two-workers"])
def service(request, tmp_path, build_release) -> Iterator[Pair]:
    """A service with an admin API."""
    command = TWO if request.param == 2 else ["serving", "--admin-port", "0"]
    yield from pair(tmp_path, build_release, command, workers=request.param)


def test_twenty_switches_under_load_lose_no_request(service) -> None:
    """Each time a new version is loaded and made the default, and the old one unloaded."""
    releases = [service.release(seed=seed) for seed in range(100, 100 + SWITCHES)]
    known = {release.digest for release in service.releases}
    callers, before = Callers(service.port), "1"
    try:
        for number, release in enumerate(releases):
            version = f"v{number}"
            assert service.load(version, release).status_code == 200
            assert service.admin("PUT", "/models/toy/default", {"version": version}).status_code == 200
            assert service.admin("DELETE", f"/models/toy/versions/{before}").status_code == 200
            assert service.ask().json()["digest"] == release.digest  # from the acknowledgement on
            before = version
    finally:
        callers.stop()
    assert callers.failed == []
    assert callers.wrong == []
    assert set(callers.answers) <= known
    assert len(callers.answers) >= SWITCHES  # all versions answered somebody: there was load all the while
    print(f"{callers.answers.total():,} requests over {SWITCHES} switches, none failed")
