"""Memory does not grow over a million requests (R3, S1)."""

import json
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
SINGLE = f"""
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{json.dumps({"row": ROW})}'
"""
# Every other way: the ordinary application, batches of both forms, the protocol V2, and each kind of refusal.
MIXED = 60_000  # requests, of which each costs many times one of the hot path
BYTES_A_MIXED_REQUEST = 128  # so few need a bound above what the allocator gains and loses, and below a body
WAYS = [
    ("/predict", "application/json; charset=utf-8", {"row": ROW}),
    ("/predict_batch", "application/json", {"rows": [ROW] * 20}),
    ("/predict_batch", "application/json", {"columns": {name: [value] * 20 for name, value in ROW.items()}}),
    ("/predict_batch", "application/json", {"rows": [ROW] * 600}),
    (
        "/v2/models/toy/infer",
        "application/json",
        {
            "inputs": [
                {"name": "numbers", "datatype": "FP32", "shape": [1, 2], "data": [1.5, 0.25]},
                {"name": "categories", "datatype": "BYTES", "shape": [1, 1], "data": ["A"]},
            ]
        },
    ),
    ("/predict", "application/json", {"row": {**ROW, "unheard": 1}}),
    ("/predict?version=9", "application/json", {"row": ROW}),
    ("/predict", "text/plain", {"row": ROW}),
    ("/nowhere", "application/json", {}),
]
_LINES = ",".join(f"{{'{path}', '{kind}', '{json.dumps(sent)}'}}" for path, kind, sent in WAYS)
MIXING = f"""
local ways, turn = {{{_LINES}}}, 0
request = function()
  turn = turn % #ways + 1
  local way = ways[turn]
  return wrk.format("POST", way[1], {{["Content-Type"] = way[2]}}, way[3])
end
"""
# A service that keeps a copy of every body; and one that keeps every answer of the ordinary application.
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
KEEPS = """
import sys
import serving.http.app as app
from serving.__main__ import main
kept, reply = [], app.reply
def keeping(*words, **named):
    kept.append(reply(*words, **named))
    return kept[-1]
app.reply = keeping
sys.exit(main())
"""


Send = Callable[[Real, int], int]


@pytest.fixture
def wrk(require, tmp_path) -> Callable[..., Send]:
    """Makes a sender of at least so many requests of a script, which removes what is logged of them.

    It gives the number that was answered.
    """
    program = require("wrk")

    def sender(script: str, *, refusals: bool = False) -> Send:
        path = tmp_path / "post.lua"
        path.write_text(script)
        command = [program, "-t1", f"-c{CONNECTIONS}", f"-d{SLICE_SECONDS}s", "-s", str(path)]

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
                assert ("Non-2xx" in said) is refusals, said
                assert "Socket errors" not in said, said
                found = re.search(r"(\d+) requests in", said)
                assert found, said
                answered += int(found.group(1))
                for segment in Path(real.folder / "predictions").glob("*/*.parquet"):
                    segment.unlink()
            return answered

        return send

    return sender


def growth(real: Real, send: Send, least: int, warm: int = WARM) -> float:
    """Bytes a request by which a warm service has grown after `least` more of them."""
    send(real, warm)
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
        found = growth(real, wrk(SINGLE), REQUESTS)
    shutil.rmtree(tmp_path / "predictions")
    assert found < BYTES_A_REQUEST


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(2 * MOST_SECONDS)
def test_a_leak_would_be_seen(tmp_path, build_release, wrk) -> None:
    """The same measure over a service that keeps every body."""
    with running(tmp_path, [build_release(tmp_path / "release")], command=("-c", LEAKS)) as real:
        assert growth(real, wrk(SINGLE), FEWER) > BYTES_A_REQUEST


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(2 * MOST_SECONDS)
@pytest.mark.parametrize(("command", "grows"), [(("-m", "serving"), False), (("-c", KEEPS), True)])
def test_no_other_way_leaves_anything_behind(tmp_path, build_release, wrk, command, grows) -> None:
    """The ordinary application, batches, the protocol V2 and refusals; a service that keeps them is seen."""
    with running(tmp_path, [build_release(tmp_path / "release")], command=command) as real:
        found = growth(real, wrk(MIXING, refusals=True), MIXED // (3 if grows else 1), MIXED // 2)
    assert (found > BYTES_A_MIXED_REQUEST) is grows, found
