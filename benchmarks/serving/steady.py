"""Latency at a constant rate, counted from the moment in which each request was meant to leave.

Every contender gets the same number of requests a second, far below what it can take: what is seen is how
long one is made to wait. The contenders take turns within each turn; server and caller have a core each.
"""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import quantiles

from benchmarks.measurements import (
    Measurement,
    Section,
    host,
    loop,
    measure,
    middle,
    names,
    options,
    ratios,
    rows,
    spread,
    tell,
)
from benchmarks.serving.contenders import (
    CONTENDERS,
    LIMIT,
    MLSERVER,
    MLSERVER_ALONE,
    OURS,
    Contender,
    Place,
)
from benchmarks.serving.load import Cores, Server, running
from benchmarks.serving.openloop import fire, request
from benchmarks.serving.place import prepare
from benchmarks.serving.place import rows as golden_rows
from contract.errors import FlightlineError
from pipelines.cli import OK, command

SECTION = "steady"
RATE = 300  # requests a second
WARM_S = 2.0  # uncounted, once
ASKED = 1 / 8  # of MLServer's p99
PERCENTILES = {"p50_ms": 50, "p90_ms": 90, "p99_ms": 99}


def bench(
    place: Place, chosen: Sequence[Contender], rate: float, seconds: float, turns: int
) -> list[Measurement]:
    """Every contender in every turn, all of them running throughout.

    Raises:
        FlightlineError: one does not start, or leaves a request unanswered.
    """
    cores, found = Cores.of_this_machine(), []
    sent = golden_rows(place.bundle)
    with contextlib.ExitStack() as servers:
        ready = []
        for contender in chosen:
            own = replace(place, work=place.work / contender.name)
            server = servers.enter_context(running(contender, own, cores))
            requests = [request(contender.path, contender.body(row)) for row in sent]
            with on(cores.load):
                _ask(contender.name, server, requests, rate, WARM_S)
            ready.append((contender.name, server, requests))
        for turn in range(turns):
            for name, server, requests in ready:
                with on(cores.load):
                    one = measure(name, turn, partial(_ask, name, server, requests, rate, seconds))
                line = f"{name:12} p50 {one.values['p50_ms']:.2f} ms, p99 {one.values['p99_ms']:.2f} ms"
                print(line, file=sys.stderr, flush=True)
                found.append(one)
    return found


def table(found: Sequence[Measurement]) -> str:
    """Medians over the turns, and of our p99 as a share of theirs."""
    head = [f"{_rate(found)} requests a second", "p50", "p90", "p99", "loop", "our share of p99"]
    lines = [
        [
            name,
            *(f"{middle(found, name, value):.2f} ms" for value in PERCENTILES),
            f"{loop(found, name) * 1e3:.3g} ms",
            spread(ratios(found, OURS, name, "p99_ms")) if name != OURS else "",
        ]
        for name in names(found)
    ]
    return f"{rows(head, lines)}\n\nAsked for: at most {ASKED:g} of MLServer's p99."


def _rate(found: Sequence[Measurement]) -> str:
    return " or ".join(dict.fromkeys(f"{item.values['rate_per_s']:g}" for item in found))


@contextlib.contextmanager
def on(core: int) -> Iterator[None]:
    """This process on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _ask(
    name: str, server: Server, requests: Sequence[bytes], rate: float, seconds: float
) -> dict[str, float]:
    outcome = fire(int(server.address.rpartition(":")[2]), requests, rate, seconds)
    if outcome.failed or outcome.unanswered:
        raise FlightlineError(
            f"{name} failed {outcome.failed} requests and left {outcome.unanswered} unanswered",
            "answers only",
            "Ask for fewer a second",
        )
    cuts = quantiles(outcome.latencies_s, n=100, method="inclusive")
    return {
        "rate_per_s": rate,
        "requests": float(len(outcome.latencies_s)),
        **{value: cuts[percent - 1] * 1e3 for value, percent in PERCENTILES.items()},
        "max_ms": max(outcome.latencies_s) * 1e3,
        "caller_behind_ms": outcome.behind_s * 1e3,
    }


def main(argv: list[str] | None = None) -> int:
    """Measure, print the table, and keep it where asked to."""
    known = {contender.name: contender for contender in CONTENDERS}
    parser = options("benchmarks.serving.steady", __doc__, "--rate 300 --seconds 10")
    parser.add_argument("--only", choices=known, action="append", metavar="NAME", help=", ".join(known))
    parser.add_argument("--rate", type=float, default=RATE, help=f"requests a second ({RATE})")
    parser.add_argument("--seconds", type=float, default=8, help="of each measurement (8)")
    parser.add_argument("--turns", type=int, default=3, help="measurements of each (3)")
    given = parser.parse_args(argv)
    chosen = [known[name] for name in given.only or (OURS, LIMIT, MLSERVER, MLSERVER_ALONE)]
    for absent in [contender for contender in chosen if not contender.python.exists()]:
        print(f"{absent.name} is left out: there is no {absent.python}", file=sys.stderr)
        chosen.remove(absent)
    with tempfile.TemporaryDirectory(prefix="flightline-") as folder:
        place = prepare(Path("artifacts") / given.model / "bundle", Path(folder))
        found = bench(place, chosen, given.rate, given.seconds, given.turns)
    tell(SECTION, Section(host(), given.model, found), table, given)
    return OK


if __name__ == "__main__":
    command(main)
