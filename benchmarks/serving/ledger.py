"""benchmarks.serving.ledger: where the microseconds of a request go, beside those of an echo.

CPU time, which another process on the machine lengthens a little, where it halves a rate. First that of the
server, by its threads, while wrk asks, in turns with the echo; then that of each piece, without a network.
"""

import argparse
import contextlib
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median

import msgspec
import psutil

from benchmarks.__main__ import machine
from benchmarks.serving.contenders import CONTENDERS, LIMIT, OURS, ROOT, Contender
from benchmarks.serving.load import Cores, Server, ask, measure, running, write_bodies
from benchmarks.serving.place import prepare, rows
from contract.errors import FlightlineError
from pipelines.cli import OK, command
from pipelines.machine.files import replace as replace_file
from pipelines.machine.generated import fill

DOCUMENT = Path("docs/hot-path.md")
SECTION = "ledger"


class Entry(msgspec.Struct, frozen=True):
    """Microseconds of CPU a request."""

    what: str
    microseconds: float


class Ledger(msgspec.Struct, frozen=True):
    """Of one model."""

    model: str
    served: list[Entry]  # with a network: medians over the rounds
    pieces: list[Entry]  # without: each is all before it and one thing more

    @property
    def ratio(self) -> float:
        """The echo's CPU time over ours: the rate that is left of the echo's where CPU is what is short."""
        found = {entry.what: entry.microseconds for entry in self.served}
        return found[LIMIT] / (found[OURS] + found["its other threads"])


def main(argv: list[str] | None = None) -> int:
    """Measure, and print or write the ledger."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving.ledger",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m benchmarks.serving.ledger --model iris --rounds 1",
    )
    parser.add_argument(
        "--model", action="append", help="whose bundle in artifacts/ is served (flights, iris)"
    )
    parser.add_argument("--concurrency", type=int, default=32, help="connections (32)")
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement (5)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each (3)")
    parser.add_argument("--write", action="store_true", help=f"put the figures into {DOCUMENT}")
    parser.add_argument("--json", action="store_true", help="for a program to read")
    options = parser.parse_args(argv)
    found = [
        ledger(name, options.concurrency, options.seconds, options.rounds)
        for name in options.model or ["flights", "iris"]
    ]
    if options.write:
        text = fill(DOCUMENT.read_text("utf-8"), {SECTION: table(found)})
        replace_file(DOCUMENT, text.encode())
        DOCUMENT.chmod(0o644)
    print(msgspec.json.encode(found).decode() if options.json else table(found))
    return OK


def ledger(model: str, concurrency: int, seconds: float, rounds: int) -> Ledger:
    """Both halves for one model.

    Raises:
        FlightlineError: the model is not built, or a server does not start, or does not answer.
    """
    bundle, cores = Path("artifacts") / model / "bundle", Cores.of_this_machine()
    measured: dict[str, list[float]] = {OURS: [], "its other threads": [], LIMIT: []}
    with tempfile.TemporaryDirectory(prefix="flightline-") as name, contextlib.ExitStack() as servers:
        place = prepare(bundle, Path(name))
        sent = rows(place.bundle)
        started: list[tuple[Contender, Server, Path]] = []
        for contender in CONTENDERS:
            if contender.name in {OURS, LIMIT}:
                own = replace(place, work=Path(name) / contender.name)
                server = servers.enter_context(running(contender, own, cores))
                bodies = [contender.body(row) for row in sent]
                ask(server.address + contender.path, bodies[0])
                started.append((contender, server, write_bodies(own.work / "bodies.txt", bodies)))
        for _ in range(rounds):
            for contender, server, path in started:
                before = _threads(server.pid)
                sample = measure(server, contender.path, path, concurrency, seconds)
                loop, others = (
                    (after - earlier) / sample.requests * 1e6
                    for after, earlier in zip(_threads(server.pid), before, strict=True)
                )
                measured[contender.name].append(loop)
                if contender.name == OURS:
                    measured["its other threads"].append(others)
                print(f"{contender.name:12} {loop:6.1f} µs {others:5.1f} µs", file=sys.stderr, flush=True)
    served = [Entry(what, median(found)) for what, found in measured.items()]
    return Ledger(model, served, _pieces(bundle))


def _threads(pid: int) -> tuple[float, float]:
    """CPU seconds of a process's first thread, which runs its event loop, and of all others."""
    process = psutil.Process(pid)
    times = {thread.id: thread.user_time + thread.system_time for thread in process.threads()}
    own = times[pid]
    total = process.cpu_times()  # of threads that have ended, too
    return own, total.user + total.system - own


def _pieces(bundle: Path) -> list[Entry]:
    python = str(ROOT / ".venv-serving" / "bin" / "python")
    done = subprocess.run(
        [python, "-m", "benchmarks.serving.pieces", str(bundle)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise FlightlineError(
            f"the pieces failed: {done.stderr.strip()[-500:]}", "figures", "Run: make setup, make train"
        )
    return [Entry(*item) for item in msgspec.json.decode(done.stdout, type=dict[str, float]).items()]


def table(found: list[Ledger]) -> str:
    """Markdown: a column a model."""
    lines = [
        f"{machine().split('. The ratio')[0]}. Microseconds of CPU a request.",
        "",
        f"| while wrk asks | {' | '.join(one.model for one in found)} |",
        f"| --- |{' --- |' * len(found)}",
    ]
    titles = {OURS: "the service's event loop", LIMIT: "the echo"}
    for index, entry in enumerate(found[0].served):
        values = " | ".join(f"{one.served[index].microseconds:.1f}" for one in found)
        lines.append(f"| {titles.get(entry.what, entry.what)} | {values} |")
    ratios = " | ".join(f"{one.ratio:.2f}" for one in found)
    lines += [f"| the echo's time over all of the service's | {ratios} |", ""]
    lines += [f"| in one process, without a network | {' | '.join(one.model for one in found)} |"]
    lines += [f"| --- |{' --- |' * len(found)}"]
    for index, entry in enumerate(found[0].pieces):
        values = " | ".join(f"{one.pieces[index].microseconds:.1f}" for one in found)
        lines.append(f"| {entry.what} | {values} |")
    return "\n".join(lines)


if __name__ == "__main__":
    command(main)
