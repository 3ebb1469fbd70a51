"""features: seconds and memory of the feature matrix as data grow, and of features one event at a time.

`one pass` computes all rows together; `by quarter` one quarter after another, each from the weeks before it
on. Where a size was computed both ways, the matrices must be equal. The data grow in years; with --keys in
carriers, airports and routes within one year, and nothing is measured one event at a time.
"""

import argparse
import io
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import msgspec
import polars as pl

from benchmarks import report
from benchmarks.__main__ import machine
from benchmarks.calibration import Figure, measured
from benchmarks.growth import MODEL, WAYS, Grown
from contract.errors import FlightlineError
from pipelines.cli import OK, command
from pipelines.machine.files import replace

PART, PART_KEYS = "features", "features-keys"  # of the document, and `benchmarks-PART.svg` beside it
SIZES = (1, 10, 50)  # times the year of flights
LARGEST_PASS = 10  # years; one pass over more would take most of a laptop's memory
LIMIT_S = 3600.0  # of one size
EVENTS, LOOK_UPS = 200_000, 5_000


def growth(sizes: Sequence[int], *, keys: bool = False) -> list[Grown]:
    """Each size in each way, every one in a process of its own.

    Raises:
        FlightlineError: a process failed, or two ways gave different matrices.
    """
    found: list[Grown] = []
    with tempfile.TemporaryDirectory(prefix="flightline-") as folder:
        direction = ["--keys"] if keys else []
        _child(folder, str(max(sizes)), *direction)
        for size in sizes:
            for how in WAYS if size <= LARGEST_PASS else WAYS[1:]:
                said = _child(folder, str(size), *direction, "--how", how)
                found.append(msgspec.json.decode(said, type=Grown))
                print(figure(found[-1]).name, f"{found[-1].seconds:.0f} s", file=sys.stderr, flush=True)
            for path in Path(folder).glob("*.matrix"):
                path.unlink()
    agree(found)
    return found


def agree(found: Sequence[Grown]) -> None:
    """Refuse figures of two ways that did not compute the same.

    Raises:
        FlightlineError: rows or checksum of one size differ.
    """
    for size in sorted({(grown.years, grown.keys) for grown in found}):
        matrices = {(grown.rows, grown.checksum) for grown in found if (grown.years, grown.keys) == size}
        if len(matrices) > 1:
            raise FlightlineError(
                f"the matrices of {size[0]} years with {size[1]} times the keys differ: "
                f"{sorted(matrices)} (rows, checksum)",
                "the same rows by quarter as in one pass",
                "Look for an event that reaches further than its window",
            )


def online() -> list[Figure]:
    """What one event and one look-up cost, in microseconds, with the first weeks' events in memory."""
    from pipelines.building.config import params
    from pipelines.building.sources import read_sources
    from pipelines.building.walk import in_order
    from serving.features.online import OnlineFeatures
    from training import model as models
    from training.model import AT

    model = models.load(MODEL)
    tables = model.arrange(read_sources(params(MODEL).ingest))
    store = OnlineFeatures(model.contract)
    events = list(islice(in_order(model.events(tables), model.contract), EVENTS))
    last = events[-1][0]
    rows = model.rows(tables).filter(pl.col(AT) >= last).sort(AT).head(LOOK_UPS).to_dicts()

    def observe() -> None:
        for at, stream, facts in events:
            store.observe(stream, at, facts)

    def look_up() -> None:
        for row in rows:
            store.values(row, row[AT])

    names = sum(item.aggregate is not None for item in model.contract.features)
    found = []
    for name, work, times in (
        (f"one event of {len(events):,}", observe, len(events)),
        ("one look-up", look_up, len(rows)),
    ):
        whole = measured(name, work)
        found.append(Figure(name, whole.seconds / times, whole.calibration_s))
    detail = f"{names} features; {store.moments:,} moments in memory"
    return [found[0], msgspec.structs.replace(found[1], detail=detail)]


def figure(grown: Grown) -> Figure:
    """A size as a line of the table."""
    times = f"{grown.keys} times the keys" if grown.keys > 1 else f"{grown.years} years"
    return Figure(
        f"{grown.rows:,} rows ({times}), {grown.how}",
        grown.seconds,
        grown.calibration_s,
        detail=f"{grown.peak_mb:,.0f} MB at most; {grown.rows / grown.seconds:,.0f} rows/s",
    )


def draw(found: Sequence[Grown]) -> bytes:
    """Seconds and memory against rows, both axes logarithmic, as SVG; equal figures give equal bytes."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    with mpl.rc_context({"svg.hashsalt": "flightline", "font.size": 10}):
        canvas = Canvas(figsize=(8, 3.6), layout="constrained")
        FigureCanvasAgg(canvas)
        left, right = canvas.subplots(1, 2)
        for how, mark in zip(WAYS, "os", strict=True):
            part = [grown for grown in found if grown.how == how]
            rows = [grown.rows for grown in part]
            left.plot(rows, [grown.seconds for grown in part], f"{mark}-", label=how)
            right.plot(rows, [grown.peak_mb for grown in part], f"{mark}-", label=how)
        for axes, title in ((left, "seconds"), (right, "peak memory, MB")):
            axes.set(title=title, xlabel="rows", xscale="log", yscale="log")
            axes.grid(alpha=0.3)
        left.legend(frameon=False)
        target = io.BytesIO()
        canvas.savefig(target, format="svg", metadata={"Date": None, "Creator": None})
    return b"\n".join(line.rstrip() for line in target.getvalue().splitlines()) + b"\n"


def _child(*words: str) -> bytes:
    command_line = [sys.executable, "-m", "benchmarks.growth", *words]
    done = subprocess.run(command_line, capture_output=True, check=False, timeout=LIMIT_S)
    if done.returncode:
        raise FlightlineError(
            f"{' '.join(command_line[1:])} ended with {done.returncode}: {done.stderr.decode()[-500:]}",
            "figures",
            "Look at what it says; 137 is a lack of memory",
        )
    return done.stdout


def main(argv: list[str] | None = None) -> int:
    """Measure, print, and with --write keep the table and the picture."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.features",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m benchmarks.features --sizes 1 10",
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="times the year (1 10 50)")
    parser.add_argument("--keys", action="store_true", help="more keys in one year instead of more years")
    parser.add_argument("--write", action="store_true", help=f"put the figures into {report.DOCUMENT}")
    parser.add_argument("--json", action="store_true", help="for a program to read")
    options = parser.parse_args(argv)
    single = [] if options.keys else online()
    found = growth(sorted(set(options.sizes)), keys=options.keys)
    part = PART_KEYS if options.keys else PART
    figures = [*map(figure, found), *single]
    if options.write:
        report.write(part, figures, machine())
        picture = report.DOCUMENT.with_name(f"{report.DOCUMENT.stem}-{part}.svg")
        replace(picture, draw(found))
        picture.chmod(0o644)
    if options.json:
        facts = {"growth": found, "online": single}
        print(msgspec.json.format(msgspec.json.encode(facts), indent=2).decode())
    else:
        print(f"## {part}\n\n{machine()}\n\n{report.table(figures)}\n")
    return OK


if __name__ == "__main__":
    command(main)
