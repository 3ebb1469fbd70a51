"""How many threads of onnxruntime and how many workers: every pair, asked at each number of connections.

The service may use all cores, wrk has the last one: what a second worker gains it takes from the caller, as
on a machine that does nothing else. One row a request, and 1,000 rows a request, since only long runs have
work for a second thread. All pairs run throughout and take turns.
"""

import contextlib
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.measurements import (
    Measurement,
    Section,
    host,
    loop,
    measure,
    middle,
    names,
    options,
    rows,
    tell,
)
from benchmarks.serving.contenders import CONTENDERS, OURS, Contender, Place
from benchmarks.serving.figures import svg
from benchmarks.serving.load import Cores, Server, running, write_bodies
from benchmarks.serving.load import measure as load
from benchmarks.serving.place import prepare
from benchmarks.serving.place import rows as golden_rows
from contract.errors import FlightlineError
from pipelines.cli import OK, command

SECTION = "sweep"
PICTURE = Path("docs/benchmarks-sweep.svg")
THREADS, WORKERS = (1, 2), (1, 2)
CONNECTIONS = {"/predict": (1, 8, 32, 64), "/predict_batch": (1, 4)}
BATCH = 1_000  # rows


@dataclass(frozen=True)
class Pair:
    """One way to use the cores."""

    workers: int
    threads: int

    @property
    def name(self) -> str:
        """As tables have it."""
        return f"{_count(self.workers, 'worker')}, {_count(self.threads, 'thread')}"

    def contender(self) -> Contender:
        """This service, started so."""
        ours = next(contender for contender in CONTENDERS if contender.name == OURS)
        return replace(
            ours,
            name=self.name,
            command=lambda place, port: [*ours.command(place, port), "--workers", str(self.workers)],
            variables={"FLIGHTLINE_ONNX_THREADS": str(self.threads)},
        )


PAIRS = [Pair(workers, threads) for workers in WORKERS for threads in THREADS]


def bench(place: Place, pairs: Sequence[Pair], seconds: float, turns: int) -> list[Measurement]:
    """Every pair on every route at each number of connections, in turns.

    Raises:
        FlightlineError: one does not start, or fails a request.
    """
    one_each = Cores.of_this_machine()
    cores = replace(one_each, server=",".join(map(str, sorted(os.sched_getaffinity(0)))))
    sent, found = golden_rows(place.bundle), []
    single, batch = (place.work / f"{name}.txt" for name in ("single", "batch"))
    write_bodies(single, [msgspec.json.encode({"row": row}) for row in sent])
    write_bodies(batch, [msgspec.json.encode({"rows": [sent[i % len(sent)] for i in range(BATCH)]})])
    bodies = {"/predict": single, "/predict_batch": batch}
    with contextlib.ExitStack() as servers:
        ready = []
        for number, pair in enumerate(pairs):
            # A folder of state for each: its workers acknowledge there.
            own = prepare(place.bundle, place.work / f"pair-{number}")
            ready.append((pair, servers.enter_context(running(pair.contender(), own, cores))))
        for turn in range(turns):
            for route, numbers in CONNECTIONS.items():
                for connections in numbers:
                    for pair, server in ready:
                        work = partial(_ask, server, route, bodies[route], connections, seconds)
                        one = measure(f"{pair.name}: {route}, {connections}", turn, work)
                        print(f"{one.name:46} {one.values['rows_per_s']:>10,.0f} rows/s", file=sys.stderr)
                        found.append(one)
    return found


def _ask(server: Server, route: str, bodies: Path, connections: int, seconds: float) -> dict[str, float]:
    sample = load(server, route, bodies, connections, seconds)
    if sample.failed or sample.broken:
        raise FlightlineError(
            f"{sample.failed + sample.broken} of {sample.requests} requests failed",
            "answers",
            "Ask one alone",
        )
    rows_each = BATCH if route == "/predict_batch" else 1
    return {
        "rows_per_s": sample.rate * rows_each,
        "p99_ms": sample.p99_us / 1e3,
        "cpu_us_per_row": sample.cpu_us / rows_each,
    }


def table(found: Sequence[Measurement]) -> str:
    """Rows a second, p99 and CPU time a row of each pair, a line for each number of connections."""
    pairs = list(dict.fromkeys(name.partition(":")[0] for name in names(found)))
    lines = []
    for asked in dict.fromkeys(name.partition(": ")[2] for name in names(found)):
        kept = [f"{pair}: {asked}" for pair in pairs]
        route, _, connections = asked.partition(", ")
        lines.append(
            [
                f"`{route}`, {_count(int(connections), 'connection')}",
                *(_cell(found, name) for name in kept),
                f"{loop(found, kept[0]) * 1e3:.3g} ms",
            ]
        )
    said = "In each cell: rows a second, p99, CPU time a row of all workers."
    return f"{rows(['asked', *pairs, 'loop'], lines)}\n\n{said}"


def _cell(found: Sequence[Measurement], name: str) -> str:
    rate, p99, cpu = (middle(found, name, value) for value in ("rows_per_s", "p99_ms", "cpu_us_per_row"))
    return f"{rate:,.0f}/s, {p99:.1f} ms, {cpu:.3g} µs"


def draw(found: Sequence[Measurement]) -> bytes:
    """Rows a second by connections, a panel for each route, as an SVG."""

    def fill(figure: Any) -> None:
        panels = figure.subplots(1, len(CONNECTIONS))
        for axes, (route, numbers) in zip(panels, CONNECTIONS.items(), strict=True):
            for pair in dict.fromkeys(name.partition(":")[0] for name in names(found)):
                points = [middle(found, f"{pair}: {route}, {number}", "rows_per_s") for number in numbers]
                axes.plot(numbers, points, marker="o", label=pair)
                for one in found:
                    head, _, number = one.name.rpartition(", ")
                    if head == f"{pair}: {route}":
                        axes.scatter([int(number)], [one.values["rows_per_s"]], s=6, alpha=0.5, color="grey")
            axes.set(title=route, xlabel="connections", ylabel="rows a second", xscale="log")
            axes.set_ylim(bottom=0)
            axes.set_xticks(numbers, list(map(str, numbers)))
            axes.grid(alpha=0.3)
        panels[0].legend(frameon=False)

    return svg(fill, (9, 3.6))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number > 1)}"


def main(argv: list[str] | None = None) -> int:
    """Measure, print the table, and keep it with its plot where asked to."""
    parser = options("benchmarks.serving.sweep", __doc__, "--seconds 2 --turns 5")
    parser.add_argument("--seconds", type=int, default=1, help="of each measurement (1)")
    parser.add_argument("--turns", type=int, default=3, help="measurements of each (3)")
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="flightline-") as folder:
        place = prepare(Path("artifacts") / given.model / "bundle", Path(folder))
        found = bench(place, PAIRS, given.seconds, given.turns)
    if given.write:
        PICTURE.write_bytes(draw(found))
    tell(SECTION, Section(host(), given.model, found), table, given)
    return OK


if __name__ == "__main__":
    command(main)
