"""benchmarks.serving: requests a second and latency of this service, beside others, within one run.

A contender serves on one core and wrk asks from the other, at each concurrency, in rounds: what is compared
was measured within seconds of each other. Only ratios say anything about another machine, or another day.
"""

import argparse
import contextlib
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import msgspec

from benchmarks.__main__ import machine
from benchmarks.serving.contenders import CONTENDERS, Contender
from benchmarks.serving.figures import Run, draw, table
from benchmarks.serving.load import Cores, ask, measure, running, write_bodies
from benchmarks.serving.place import prepare, rows
from contract.errors import FlightlineError
from pipelines.cli import OK, command

CONCURRENCIES = (1, 8, 32, 64)
DOCUMENT = Path("docs/benchmarks-serving.json")
PICTURE = Path("docs/benchmarks-serving.svg")


def main(argv: list[str] | None = None) -> int:
    """Measure, print the table, and keep raw data and plot where asked to."""
    names = [contender.name for contender in CONTENDERS]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m benchmarks.serving --only flightline --only echo --seconds 3",
    )
    parser.add_argument("--model", default="flights", help="whose bundle in artifacts/ is served (flights)")
    parser.add_argument("--only", choices=names, action="append", metavar="NAME", help=", ".join(names))
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement (5)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each (3)")
    parser.add_argument(
        "--concurrency", type=int, action="append", metavar="N", help="connections (1, 8, 32 and 64)"
    )
    parser.add_argument("--write", action="store_true", help=f"keep {DOCUMENT} and {PICTURE}")
    parser.add_argument("--json", action="store_true", help="for a program to read")
    options = parser.parse_args(argv)
    chosen = [contender for contender in CONTENDERS if contender.name in (options.only or names)]
    for absent in [contender for contender in chosen if not contender.python.exists()]:
        print(f"{absent.name} is left out: there is no {absent.python}", file=sys.stderr)
        chosen.remove(absent)
    concurrencies = tuple(options.concurrency or CONCURRENCIES)
    runs = bench(
        Path("artifacts") / options.model / "bundle", chosen, concurrencies, options.seconds, options.rounds
    )
    raw = msgspec.json.format(
        msgspec.json.encode({"machine": machine(), "model": options.model, "runs": runs}), indent=1
    )
    if options.write:
        DOCUMENT.write_bytes(raw + b"\n")
        PICTURE.write_bytes(draw(runs))
    print(raw.decode() if options.json else f"{machine()}\n\n{table(runs)}")
    return OK


def bench(
    bundle: Path, contenders: list[Contender], concurrencies: tuple[int, ...], seconds: float, rounds: int
) -> list[Run]:
    """Every contender at every concurrency, `rounds` times, all of them running throughout.

    Raises:
        FlightlineError: one does not start, or does not answer what it is asked.
    """
    cores, runs = Cores.of_this_machine(), []
    with tempfile.TemporaryDirectory(prefix="flightline-") as name, contextlib.ExitStack() as servers:
        folder = Path(name)
        place = prepare(bundle, folder)
        sent = rows(place.bundle)
        started = []
        for contender in contenders:
            own = replace(place, work=folder / contender.name)
            print(f"starting {contender.name} …", file=sys.stderr, flush=True)
            server = servers.enter_context(running(contender, own, cores))
            url = server.address + contender.path
            bodies = [contender.body(row) for row in sent]
            ask(url, bodies[0])
            started.append((contender, server, write_bodies(own.work / "bodies.txt", bodies)))
        for turn in range(rounds):
            for concurrency in concurrencies:
                for contender, server, path in started:
                    sample = measure(server, contender.path, path, concurrency, seconds)
                    if sample.failed or sample.broken:
                        raise FlightlineError(
                            f"{contender.name} failed {sample.failed + sample.broken} of {sample.requests}",
                            "answers only",
                            "See what it says to one of them",
                        )
                    runs.append(Run(contender.name, turn, concurrency, sample))
                    line = f"{contender.name:14} {concurrency:3} {sample.rate:9,.0f}/s p99 {sample.p99_us} µs"
                    print(line, file=sys.stderr, flush=True)
    return runs


if __name__ == "__main__":
    command(main)
