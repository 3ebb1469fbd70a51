"""benchmarks.serving.overload: more load than the service takes, seen by callers among the crowd.

Unloaded means the most load of which nothing is refused: as many connections as the limit. The crowd is
several times that, each asking again as soon as it is answered, whatever `Retry-After` says.
"""

import argparse
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

import msgspec

from benchmarks.serving.contenders import CONTENDERS, OURS
from benchmarks.serving.load import SCRIPT, Cores, Server, running, write_bodies
from benchmarks.serving.place import prepare, rows
from contract.errors import FlightlineError
from pipelines.cli import OK, command

PROBE = Path(__file__).with_name("probe.lua")
PROBES = 8  # connections whose requests are timed one by one
ENOUGH = 300  # accepted requests for a 99th percentile


class Outcome(msgspec.Struct, frozen=True):
    """All rounds together; those of either kind take turns."""

    unloaded: int  # connections
    crowd: int
    unloaded_p99_us: float
    accepted_p99_us: float
    ratio: float
    refused: int  # of all timed requests
    others: int  # answers that were neither


class Probed(msgspec.Struct, frozen=True):
    """What the timed callers saw."""

    accepted_us: list[int]
    refused: int  # 503 with Retry-After
    others: int  # any other answer


@dataclass(frozen=True)
class Crowd:
    """A number of connections, and how long they ask."""

    connections: int
    seconds: float


def probe(server: Server, route: str, bodies: Path, crowd: Crowd) -> Probed:
    """What `PROBES` callers see beside the others of a crowd.

    Raises:
        FlightlineError: wrk failed.
    """
    words = ["taskset", "--cpu-list", str(server.cores.load), "wrk", "--timeout", "10s"]
    words += ["--duration", f"{crowd.seconds:g}s"]
    end = [server.address + route, "--", str(bodies)]
    others = [
        *words,
        "--threads",
        "1",
        "--connections",
        str(crowd.connections - PROBES),
        "--script",
        str(SCRIPT),
    ]
    own = [*words, "--threads", str(PROBES), "--connections", str(PROBES), "--script", str(PROBE)]
    # All callers have one core. Where the others do not give way there, a timed caller waits for them with
    # the answer in its socket: milliseconds that are not the service's.
    with subprocess.Popen(["nice", "-n", "15", *others, *end], stdout=subprocess.DEVNULL) as beside:
        done = subprocess.run([*own, *end], capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or beside.returncode or not lines:
        raise FlightlineError(f"wrk failed: {done.stderr.strip()[:200]}", "figures", "Run it by hand")
    return msgspec.json.decode(lines[-1], type=Probed)


def main(argv: list[str] | None = None) -> int:
    """Measure in rounds, and print what the accepted saw."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving.overload",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m benchmarks.serving.overload --limit 64 --times 8",
    )
    parser.add_argument(
        "--bundle", type=Path, default=Path("artifacts/flights/bundle"), help="what is served"
    )
    parser.add_argument("--limit", type=int, default=128, help="FLIGHTLINE_REQUESTS of the service (128)")
    parser.add_argument("--connections", type=int, help="that count as unloaded (the limit)")
    parser.add_argument("--times", type=int, default=4, help="as many connections are the crowd (4)")
    parser.add_argument("--seconds", type=float, default=3, help="of each measurement (3)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each (3)")
    parser.add_argument("--json", action="store_true", help="for a program to read")
    options = parser.parse_args(argv)
    os.environ["FLIGHTLINE_REQUESTS"] = str(options.limit)
    connections = options.connections or options.limit
    found = overload(
        options.bundle,
        Crowd(connections, options.seconds),
        Crowd(connections * options.times, options.seconds),
        options.rounds,
    )
    if options.json:
        print(msgspec.json.encode(found).decode())
    else:
        print(
            f"{found.unloaded} connections: p99 {found.unloaded_p99_us / 1000:.2f} ms; {found.crowd}: "
            f"then {found.accepted_p99_us / 1000:.2f} ms, {found.ratio:.2f} as much; {found.refused} refused"
        )
    return OK


def overload(bundle: Path, unloaded: Crowd, crowd: Crowd, rounds: int) -> Outcome:
    """The 99th percentile of accepted requests, unloaded and in a crowd, in turns.

    Raises:
        FlightlineError: the service does not start, or too few requests were accepted.
    """
    ours = next(contender for contender in CONTENDERS if contender.name == OURS)
    pairs: list[tuple[Probed, Probed]] = []
    with tempfile.TemporaryDirectory(prefix="flightline-") as name:
        place = prepare(bundle, Path(name))
        with running(ours, place, Cores.of_this_machine()) as server:
            bodies = write_bodies(Path(name) / "bodies.txt", [ours.body(row) for row in rows(place.bundle)])
            for _ in range(rounds):
                quiet = probe(server, ours.path, bodies, unloaded)
                pairs.append((quiet, probe(server, ours.path, bodies, crowd)))
    unloaded_p99, accepted_p99 = (
        _p99([us for pair in pairs for us in pair[side].accepted_us]) for side in (0, 1)
    )
    return Outcome(
        unloaded=unloaded.connections,
        crowd=crowd.connections,
        unloaded_p99_us=unloaded_p99,
        accepted_p99_us=accepted_p99,
        ratio=accepted_p99 / unloaded_p99,
        refused=sum(loud.refused for _, loud in pairs),
        others=sum(one.others for pair in pairs for one in pair) + sum(quiet.refused for quiet, _ in pairs),
    )


def _p99(accepted_us: list[int]) -> float:
    if len(accepted_us) < ENOUGH:
        raise FlightlineError(
            f"{len(accepted_us)} requests were accepted", f"at least {ENOUGH}", "Measure for longer"
        )
    return quantiles(accepted_us, n=100)[-1]


if __name__ == "__main__":
    command(main)
