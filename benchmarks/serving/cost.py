"""What a million predictions cost in core-seconds: the CPU time of all processes that answer them.

The service answers on one core, the caller has the other; the prediction log's writing is waited for, and
counted. `pipelines.score` is the whole command with every core, from its start to its end. CPU time is what
contention for a core changes least: it is what a million predictions take wherever they run.
"""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import msgspec
import polars as pl

from benchmarks.measurements import (
    Measurement,
    Section,
    host,
    loop,
    measure,
    middle,
    names,
    options,
    spread,
    tell,
)
from benchmarks.measurements import rows as markdown
from benchmarks.rows import IN_FLIGHT, ROWS, Way, ask_at_once, on, sample, ways
from benchmarks.serving.contenders import CONTENDERS, OURS, ROOT, Place
from benchmarks.serving.load import Cores, Server, free_port, logged, running, write_bodies
from benchmarks.serving.load import measure as load
from benchmarks.serving.place import prepare
from benchmarks.serving.place import rows as golden_rows
from contract.bundle import open_bundle
from contract.errors import FlightlineError
from contract.predictions import FEATURE_PREFIX
from pipelines.cli import OK, command
from serving.rows import decode_rows

SECTION = "cost"
CONCURRENCY = 32
MILLION = 1_000_000

# Predictions, the CPU seconds they took, and how many of them the prediction log had no room for.
Work = Callable[[], tuple[int, float, int]]


def bench(place: Place, seconds: float, turns: int, scored: int) -> list[Measurement]:
    """Every way to a prediction, in turns.

    Raises:
        FlightlineError: the service does not start, or a request or the scoring fails.
    """
    cores, bundle, rpc = Cores.of_this_machine(), open_bundle(place.bundle), free_port()
    ours = next(contender for contender in CONTENDERS if contender.name == OURS)
    ours = replace(ours, variables={"FLIGHTLINE_GRPC_PORT": str(rpc)})
    reference = place.bundle / "reference.parquet"
    sent, table = sample(reference), _table(place, reference, scored)
    rows = decode_rows(bundle.contract, sent)
    bodies = write_bodies(
        place.work / "bodies.txt", [msgspec.json.encode({"row": row}) for row in golden_rows(place.bundle)]
    )
    found = []
    with running(ours, place, cores) as server:
        port = int(server.address.rpartition(":")[2])
        asked = ways(bundle.contract.model, rows, sent, port, rpc)
        works: dict[str, Work] = {
            f"`/predict`, one row, {CONCURRENCY} connections": partial(_single, server, bodies, seconds),
            **{f"{name}, 1,000 rows": partial(_many, server, way, seconds) for name, way in asked.items()},
            f"`pipelines.score`, {scored:,} rows": partial(
                _score, place, bundle.contract.model, table, scored
            ),
        }
        for turn in range(turns):
            for name, work in works.items():
                with on({cores.load}) if "score" not in name else on(os.sched_getaffinity(0)):
                    one = measure(name, turn, partial(_cost, work))
                print(f"{name:40} {one.values['core_s_per_million']:7.1f} core-seconds", file=sys.stderr)
                found.append(one)
    return found


def table(found: Sequence[Measurement]) -> str:
    """Core-seconds for a million predictions, and loops of the fixed work that they are."""
    head = ["a million predictions", "core-seconds", "not logged", "loop", "loops"]
    lines = []
    for name in names(found):
        costs = [one.values["core_s_per_million"] for one in found if one.name == name]
        beside = loop(found, name)
        in_loops = middle(found, name, "core_s_per_million") / beside
        lost = sum(one.values["not_logged"] for one in found if one.name == name)
        share = lost / sum(one.values["predictions"] for one in found if one.name == name)
        cells = [spread(costs), f"{share:.0%}", f"{beside * 1e3:.3g} ms", f"{in_loops:,.0f}"]
        lines.append([name, *cells])
    return markdown(head, lines)


def _cost(work: Work) -> Mapping[str, float]:
    predictions, cpu, dropped = work()
    return {
        "core_s_per_million": cpu / predictions * MILLION,
        "predictions": float(predictions),
        "not_logged": float(dropped),
    }


def _single(server: Server, bodies: Path, seconds: float) -> tuple[int, float, int]:
    before, dropped = server.cpu_seconds(), logged(server)
    one = load(server, "/predict", bodies, CONCURRENCY, seconds)
    if one.failed or one.broken:
        raise FlightlineError(f"{one.failed + one.broken} requests failed", "answers", "Ask one alone")
    dropped = logged(server) - dropped
    return one.requests, server.cpu_seconds() - before, dropped


def _many(server: Server, way: Way, seconds: float) -> tuple[int, float, int]:
    before, dropped = server.cpu_seconds(), logged(server)
    count, _ = ask_at_once(way, seconds, IN_FLIGHT)
    dropped = logged(server) - dropped
    return (count + IN_FLIGHT) * ROWS, server.cpu_seconds() - before, dropped


def _table(place: Place, reference: Path, rows: int) -> Path:
    """The reference's rows, again and again, as a file that is to be scored."""
    plain = pl.read_parquet(reference)
    found = plain.select(
        pl.col(name).alias(name.removeprefix(FEATURE_PREFIX)).fill_nan(None)
        if plain.schema[name].is_float()
        else pl.col(name).alias(name.removeprefix(FEATURE_PREFIX))
        for name in plain.columns
        if name.startswith(FEATURE_PREFIX)
    )
    path = place.work / "to-score.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.concat([found] * (rows // found.height + 1)).head(rows).write_parquet(path)
    return path


def _score(place: Place, model: str, path: Path, rows: int) -> tuple[int, float, int]:
    """The command, as a person runs it, with the key that is trusted here alone."""
    output, var = place.work / "scored", place.work / "var"
    shutil.rmtree(output, ignore_errors=True)  # what was scored is not scored again
    (var / "keys").mkdir(parents=True, exist_ok=True)
    shutil.copy(place.trust, var / "keys" / "trust.json")
    words = [model, "--release", place.bundle.parent, "--input", path, "--output", output, "--json"]
    before = _of_children()
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.score", *map(str, words)],
        cwd=ROOT,
        env={**os.environ, "FLIGHTLINE_VAR": str(var)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise FlightlineError(f"scoring failed: {done.stderr.strip()[-300:]}", "answers", "Run it by hand")
    return rows, _of_children() - before, 0


def _of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(argv: list[str] | None = None) -> int:
    """Measure, print the table, and keep it where asked to."""
    parser = options("benchmarks.serving.cost", __doc__, "--seconds 3 --turns 3")
    parser.add_argument("--seconds", type=int, default=2, help="of each measurement (2)")
    parser.add_argument("--turns", type=int, default=3, help="measurements of each (3)")
    parser.add_argument(
        "--scored", type=int, default=MILLION, help="rows that are scored each time (1000000)"
    )
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="flightline-") as folder:
        place = prepare(Path("artifacts") / given.model / "bundle", Path(folder))
        found = bench(place, given.seconds, given.turns, given.scored)
    tell(SECTION, Section(host(), given.model, found), table, given)
    return OK


if __name__ == "__main__":
    command(main)
