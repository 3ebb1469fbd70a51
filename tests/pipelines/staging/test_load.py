"""C4: a version under load is compared with an echo under the same load, and no request may fail."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psutil
import pytest

from contract.bundle import Bundle
from pipelines.machine.processes import alive
from pipelines.staging import generator
from pipelines.staging.checks import Found
from pipelines.staging.generator import Sample, generate
from pipelines.staging.load import ECHO, Round, echo, judge, load
from pipelines.staging.policy import LoadPolicy
from tests.pipelines.staging.conftest import Service
from tests.serving.real import until

LIMITS = LoadPolicy(0.5, 4, 400, min_throughput=0.0001, max_p99=10_000, max_errors=0)

Answer = Callable[[BaseHTTPRequestHandler, bytes, int], None]


@contextmanager
def server(answer: Answer) -> Iterator[str]:
    """A server on a real socket that answers each request, numbered from 0, by `answer`."""
    numbers, lock = iter(range(10**9)), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one segment

        def do_POST(self) -> None:
            with lock:
                number = next(numbers)
            answer(self, self.rfile.read(int(self.headers["content-length"])), number)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.daemon_threads = True
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{made.server_address[1]}"
    finally:
        made.shutdown()
        made.server_close()
        thread.join(10)


def reply(handler: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
    """One whole answer."""
    handler.send_response(status)
    handler.send_header("content-length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def honest(bundle: Bundle) -> Callable[[bytes], bytes]:
    """Golden answers by their rows."""
    known = {json.dumps(item.row, sort_keys=True): item for item in bundle.golden.rows}

    def find(body: bytes) -> bytes:
        item = known[json.dumps(json.loads(body)["row"], sort_keys=True)]
        scores = dict(zip(bundle.contract.classes, item.scores, strict=True))
        return json.dumps({"prediction": item.label, "scores": scores}).encode()

    return find


def test_an_honest_server_passes_and_is_measured(service: Service) -> None:
    """Figures of its own, and times the echo's; no more requests than allowed."""
    find = honest(service.bundle)
    with server(lambda handler, body, _: reply(handler, 200, find(body))) as url:
        seen, measured = load(url, service.bundle, LIMITS)
    assert "0.00% errors" in seen
    assert set(measured) == {
        "requests", "errors", "requests_per_second", "p99_ms", "throughput_of_echo", "p99_of_echo",
    }  # fmt: skip
    assert measured["errors"] == 0
    assert 5 <= measured["requests"] <= 400
    assert measured["requests_per_second"] > 0
    assert measured["p99_of_echo"] > 0


def test_a_slow_server_fails(service: Service) -> None:
    """Twenty milliseconds for each answer are many times what an echo takes."""
    find = honest(service.bundle)
    pause = threading.Event()

    def slow(handler: BaseHTTPRequestHandler, body: bytes, _: int) -> None:
        pause.wait(0.02)
        reply(handler, 200, find(body))

    limits = LoadPolicy(0.5, 4, 400, min_throughput=0.9, max_p99=10_000, max_errors=0)
    with server(slow) as url, pytest.raises(Found, match=r"0\.00% errors") as found:
        load(url, service.bundle, limits)
    assert found.value.measured["p99_ms"] > 20


def broken(kind: str, find: Callable[[bytes], bytes]) -> Answer:
    """A server that fails one request of ten in one way."""

    def answer(handler: BaseHTTPRequestHandler, body: bytes, number: int) -> None:
        right = find(body)
        if number % 10:
            reply(handler, 200, right)
        elif kind == "status":
            reply(handler, 503, b"{}")
        elif kind == "hangs up":
            handler.close_connection = True
        elif kind == "no JSON":
            reply(handler, 200, b"yes")
        elif kind == "no length":
            handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            handler.close_connection = True
        else:
            reply(handler, 200, json.dumps(wrong(kind, json.loads(right))).encode())

    return answer


def wrong(kind: str, body: dict[str, dict[str, float]]) -> object:
    """An answer of the right form that training did not give."""
    if kind == "label":
        return body | {"prediction": "another"}
    scores = {name: score + 0.01 for name, score in body["scores"].items()}
    return body | {"scores": scores if kind == "scores" else {}}


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("status", "status 503"),
        ("hangs up", "closed without an answer"),
        ("no JSON", "another answer than training's"),
        ("no length", "an answer without Content-Length"),
        ("label", "another answer than training's"),
        ("scores", "another answer than training's"),
        ("no scores", "another answer than training's"),
    ],
)
def test_a_server_that_errs_now_and_then_fails(service: Service, kind: str, sentence: str) -> None:
    """One in ten requests, and not one is allowed: rows mixed up under load are an error, too."""
    with server(broken(kind, honest(service.bundle))) as url, pytest.raises(Found, match=sentence) as found:
        load(url, service.bundle, LIMITS)
    assert 0 < found.value.measured["errors"] < 0.5


def test_a_share_of_errors_may_be_allowed(service: Service) -> None:
    """The limit is the policy's."""
    lenient = LoadPolicy(0.5, 4, 400, 0.0001, 10_000, max_errors=0.5)
    with server(broken("status", honest(service.bundle))) as url:
        _, measured = load(url, service.bundle, lenient)
    assert measured["errors"] > 0


def test_a_server_that_hangs_is_not_waited_for_long(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request has a time limit, and after the first failures no further round begins."""
    monkeypatch.setattr(generator, "TIMEOUT_S", 0.1)
    leave = threading.Event()
    try:
        with server(lambda *_: leave.wait(30) and None) as url:
            with pytest.raises(Found, match=r"no answer within 0\.1 s"):
                load(url, service.bundle, LIMITS)
            leave.set()
    finally:
        leave.set()


def test_a_server_that_is_gone_fails(service: Service, free_port: int) -> None:
    """Every request fails, which is a share of one."""
    with pytest.raises(Found, match="ConnectionRefusedError") as found:
        load(f"http://127.0.0.1:{free_port}", service.bundle, LIMITS)
    assert found.value.measured["errors"] == 1


@pytest.mark.unit
@pytest.mark.parametrize(
    ("limits", "passes"),
    [
        (LoadPolicy(1, 1, 100, 0.5, 4, 0), True),
        (LoadPolicy(1, 1, 100, 0.51, 4, 0), False),
        (LoadPolicy(1, 1, 100, 0.5, 3.9, 0), False),
    ],
)
def test_ratios_are_medians_of_the_rounds(limits: LoadPolicy, passes: bool) -> None:
    """One round that a pause of the machine spoilt decides nothing; figures at a limit are within it."""
    one = Round(Sample(1.0, [0.004] * 50), Sample(1.0, [0.001] * 100))
    spoilt = Round(Sample(1.0, [0.9]), Sample(1.0, [0.001] * 100))
    if passes:
        _, measured = judge([one, spoilt, one], 201, [], limits)
        assert (measured["throughput_of_echo"], measured["p99_of_echo"]) == pytest.approx((0.5, 4.0))
    else:
        with pytest.raises(Found, match="limit"):
            judge([one, spoilt, one], 201, [], limits)


@pytest.mark.unit
def test_nothing_asked_is_no_pass() -> None:
    """A load test without a request has seen nothing."""
    with pytest.raises(Found, match="nothing was asked"):
        judge([], 0, [], LIMITS)


def test_the_generator_stops_after_so_many_requests() -> None:
    """Bounded in number as in time; each body in turn."""
    bodies: list[bytes] = []

    def keep(handler: BaseHTTPRequestHandler, body: bytes, _: int) -> None:
        bodies.append(body)
        reply(handler, 200, b"{}")

    with server(keep) as url:
        sample = generate(url, "/", [b"one", b"two", b"three"], connections=2, seconds=30, most=10)
    assert len(sample.taken) == len(sample.answers) == len(bodies) == 10
    assert {bodies.count(body) for body in (b"one", b"two", b"three")} == {3, 4}
    assert sample.per_second > 0


@pytest.mark.unit
def test_load_is_generated_over_http_alone() -> None:
    """Anything else would be answered by a connection that speaks another language."""
    with pytest.raises(ValueError, match="not of http"):
        generate("https://127.0.0.1:1", "/", [b""], connections=1, seconds=1, most=1)


def test_the_echo_answers_as_much_as_it_is_told_and_ends_with_the_block() -> None:
    """Nothing stays behind, not even where the block fails."""
    before = {child.pid for child in psutil.Process().children()}

    def fail() -> None:
        with echo(17) as url:
            sample = generate(url, "/", [b"x" * 5000], connections=1, seconds=5, most=20)
            assert {(status, len(body)) for _, status, body in sample.answers} == {(200, 17)}
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert {child.pid for child in psutil.Process().children()} <= before


def test_the_echo_does_not_hear_the_ctrl_c_of_our_terminal() -> None:
    """It ends with our block, and not with a traceback of its own between our last words."""
    before = {child.pid for child in psutil.Process().children()}
    with echo(17):
        (started,) = (child.pid for child in psutil.Process().children() if child.pid not in before)
        assert os.getpgid(started) == started != os.getpgid(0)


def test_the_echo_does_not_outlive_who_started_it() -> None:
    """A killed deployer closes nothing, but its end of the pipe is closed for it."""
    starter = (
        "import subprocess, sys, os, signal\n"
        "p = subprocess.Popen([sys.executable, '-I', sys.argv[1], '5'], stdin=subprocess.PIPE,"
        " stdout=subprocess.PIPE)\n"
        "p.stdout.readline()\n"
        "print(p.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", starter, str(ECHO)], capture_output=True, timeout=60, check=False
    )
    until(lambda: not alive(int(found.stdout)), what="the echo's end")
