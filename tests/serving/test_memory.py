"""Memory does not grow over a million requests (R3, S1)."""

import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.serving.http.bad_inputs.form import ROW
from tests.serving.real import PYTHON, Real, running, until

if not PYTHON.exists():
    pytest.skip("NO .venv-serving: `make test` makes it; its memory is not watched", allow_module_level=True)

REQUESTS = 1_000_000
# A request that leaves anything behind leaves a pointer to it, 8 bytes, and at least the smallest object that
# says something, 28 bytes: a leak of every request is over this, and over it by far if it holds a row.
BYTES_A_REQUEST = 32
# Until then buffers, the allocator's arenas and the queue of the prediction log have the size that they need.
WARM = 100_000
FEWER = 100_000  # are enough to see a leak of a kilobyte a request, which is that of a kept body
SLICE_SECONDS, CONNECTIONS = 10, 32
MOST_SECONDS = 1_500  # 800 requests a second, with the load on the same machine
SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{body}'
"""
# A service that keeps a copy of every body.
LEAKS = """
import sys
import serving.http.reading as reading
from serving.__main__ import main
kept, decode = [], reading.Reading.one
def leaking(self, plan, data, *rest):
    kept.append(bytearray(data) * 16)
    return decode(self, plan, data, *rest)
reading.Reading.one = leaking
sys.exit(main())
"""


@pytest.fixture
def wrk(require, tmp_path) -> Callable[[Real, int], int]:
    """Send at least so many requests, and remove what is logged of them; the number that was answered."""
    import msgspec

    script = tmp_path / "post.lua"
    script.write_text(SCRIPT.format(body=msgspec.json.encode({"row": ROW}).decode()))
    command = [require("wrk"), "-t1", f"-c{CONNECTIONS}", f"-d{SLICE_SECONDS}s", "-s", str(script)]

    def send(real: Real, least: int) -> int:
        answered, deadline = 0, time.monotonic() + MOST_SECONDS
        while answered < least:
            assert time.monotonic() < deadline, f"{answered} of {least} requests in {MOST_SECONDS} s"
            said = subprocess.run(
                [*command, f"http://127.0.0.1:{real.port}/predict"],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            assert "Non-2xx" not in said, said
            assert "Socket errors" not in said, said
            found = re.search(r"(\d+) requests in", said)
            assert found, said
            answered += int(found.group(1))
            for segment in Path(real.folder / "predictions").glob("*/*.parquet"):
                segment.unlink()
        return answered

    return send


def growth(real: Real, send: Callable[[Real, int], int], least: int) -> float:
    """Bytes a request by which a warm service has grown after `least` more of them."""
    send(real, WARM)
    before = _settled(real)
    answered = send(real, least)
    return (_settled(real) - before) / answered


def _settled(real: Real) -> int:
    """Memory once nothing waits to be written."""
    until(lambda: real.client.get("/status").json()["prediction_log"]["waiting"] == 0, 60, "the log written")
    return real.resident()


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(2 * MOST_SECONDS)
def test_a_million_requests_leave_nothing_behind(tmp_path, build_release, wrk) -> None:
    """A warm service grows by less than the smallest leak of every request would cost."""
    with running(tmp_path, [build_release(tmp_path / "release")]) as real:
        found = growth(real, wrk, REQUESTS)
    shutil.rmtree(tmp_path / "predictions")
    assert found < BYTES_A_REQUEST


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(2 * MOST_SECONDS)
def test_a_leak_would_be_seen(tmp_path, build_release, wrk) -> None:
    """The same measure over a service that keeps every body."""
    with running(tmp_path, [build_release(tmp_path / "release")], command=("-c", LEAKS)) as real:
        assert growth(real, wrk, FEWER) > BYTES_A_REQUEST
