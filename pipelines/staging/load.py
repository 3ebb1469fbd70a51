"""C4: a version under load, beside a bare echo under the same load: throughput, latency and errors."""

import json
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from contract.bundle import Bundle, GoldenRow
from contract.errors import FlightlineError
from pipelines.staging.checks import ENTITY, Found
from pipelines.staging.generator import Sample, generate
from pipelines.staging.policy import LoadPolicy

ECHO = Path(__file__).with_name("echo.py")
ROUNDS = 5  # echo and service in turn: a pause of the machine spoils one of them, and the median is unmoved
ECHO_SHARE = 0.5  # of the service's time: its figures have less spread
WARM_S = 0.1  # before the first round, unmeasured
OK = 200


class _Answered(msgspec.Struct):
    """What an answer says, as far as it is compared; anything else in it is passed over."""

    prediction: str
    scores: dict[str, float]


@dataclass(frozen=True)
class Round:
    """The service and the echo, one after the other."""

    service: Sample
    echo: Sample


def load(
    url: str,
    bundle: Bundle,
    limits: LoadPolicy,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> tuple[str, Mapping[str, float]]:
    """What was seen and measured of the service at `url`, which serves `bundle`, under load.

    Raises:
        Found: it is slower than `limits` allow, or did not answer every request as training did.
    """
    rows = bundle.golden.rows
    bodies = [json.dumps({"row": item.row, "id": ENTITY}).encode() for item in rows]
    path = f"/predict?model={bundle.model}"
    rounds: list[Round] = []
    wrong: list[str] = []
    asked = 0
    with echo(len(_typical(bundle))) as beside:

        def ask(where: str, seconds: float) -> Sample:
            most = max(1, limits.requests // (ROUNDS + 1))  # with the one that warms up
            return generate(where, path, bodies, connections=limits.connections, seconds=seconds, most=most)

        ask(beside, WARM_S)
        service, each = ask(url, WARM_S), limits.seconds / ROUNDS
        for number in range(ROUNDS + 1):
            progress(number, ROUNDS)
            asked += len(service.taken) + len(service.broken)
            wrong += _wrong(service, bundle)
            # After too many errors every further round might take a timeout's time.
            if number == ROUNDS or len(wrong) > limits.max_errors * asked:
                break
            service = ask(url, each)
            rounds.append(Round(service, ask(beside, each * ECHO_SHARE)))
    return judge(rounds, asked, wrong, limits)


def judge(
    rounds: Sequence[Round], asked: int, wrong: Sequence[str], limits: LoadPolicy
) -> tuple[str, Mapping[str, float]]:
    """What `rounds` say, if it is within `limits`.

    `wrong` is why each request of the `asked` that was not answered as training answered it was not.

    Raises:
        Found: it is not.
    """
    errors = len(wrong) / asked if asked else 1.0
    measured = {"requests": float(asked), "errors": errors}
    if errors > limits.max_errors:
        reason, count = Counter(wrong).most_common(1)[0] if wrong else ("nothing was asked", 0)
        raise Found(
            f"{len(wrong):,} of {asked:,} requests failed ({count:,} times: {reason}), "
            f"limit {limits.max_errors:.2%}",
            measured,
        )
    measured |= {
        "requests_per_second": statistics.median(item.service.per_second for item in rounds),
        "p99_ms": statistics.median(item.service.p99_ms for item in rounds),
        "throughput_of_echo": statistics.median(
            item.service.per_second / item.echo.per_second for item in rounds
        ),
        "p99_of_echo": statistics.median(item.service.p99_ms / item.echo.p99_ms for item in rounds),
    }
    seen = (
        f"{measured['requests_per_second']:,.0f} requests/s ({measured['throughput_of_echo']:.2f} of an "
        f"echo's, limit {limits.min_throughput:g}), p99 {measured['p99_ms']:.1f} ms "
        f"({measured['p99_of_echo']:.1f} times the echo's, limit {limits.max_p99:g}), "
        f"{errors:.2%} errors of {asked:,} at {limits.connections} at a time"
    )
    if measured["throughput_of_echo"] < limits.min_throughput or measured["p99_of_echo"] > limits.max_p99:
        raise Found(seen, measured)
    return seen, measured


@contextmanager
def echo(length: int) -> Iterator[str]:
    """The address of an echo that answers `length` bytes, in a process of its own for the block.

    Raises:
        FlightlineError: it does not start.
    """
    command = [sys.executable, "-I", str(ECHO), str(length)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C in our terminal is not for it
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise AssertionError("both are pipes")
        try:
            port = process.stdout.readline().decode().strip()
            if not port:
                raise FlightlineError(
                    f"the echo ended with {process.wait()}", "the port it listens on", f"Run {ECHO}"
                )
            yield f"http://127.0.0.1:{port}"
        finally:
            process.stdin.close()  # which ends it
            process.wait()


def _wrong(sample: Sample, bundle: Bundle) -> list[str]:
    """Why each request that was not answered as training answered it was not; looked at after the clock."""
    rows = bundle.golden.rows
    found = list(sample.broken)
    for number, status, body in sample.answers:
        if status != OK:
            found.append(f"status {status}")
        elif not _same(body, rows[number % len(rows)], bundle):
            found.append("another answer than training's")
    return found


def _same(body: bytes, item: GoldenRow, bundle: Bundle) -> bool:
    try:
        found = msgspec.json.decode(body, type=_Answered)
    except msgspec.DecodeError:
        return False
    if found.prediction != item.label or set(found.scores) != set(bundle.contract.classes):
        return False
    expected = zip(bundle.contract.classes, item.scores, strict=True)
    return all(abs(found.scores[name] - score) <= bundle.golden.tolerance for name, score in expected)


def _typical(bundle: Bundle) -> bytes:
    """About what the service answers, so that the echo sends as much."""
    item = bundle.golden.rows[0]
    scores = dict(zip(bundle.contract.classes, item.scores, strict=True))
    who = {"model": bundle.model, "version": "1", "digest": bundle.digest, "request_id": "0" * 32}
    return json.dumps({"prediction": item.label, "scores": scores, **who}).encode()
