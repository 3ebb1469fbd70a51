"""What the benchmarks of the service keep: measurements with the loop beside them, and what they say.

`docs/benchmarks-figures.json` holds one section a benchmark. The tables of `docs/benchmarks.md` are made of
it and of nothing else: a test makes them again.
"""

import argparse
import os
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median

import msgspec

from benchmarks.calibration import calibrate
from contract.errors import FlightlineError
from pipelines.machine.files import replace
from pipelines.machine.generated import fill

DOCUMENT = Path("docs/benchmarks.md")
FIGURES = Path("docs/benchmarks-figures.json")
SEVERAL = 3  # turns, below which a spread says nothing


class Measurement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One contender, measured once."""

    name: str
    turn: int  # what has the same turn was measured within seconds
    values: dict[str, float]  # by name; its unit is the end of the name
    calibration_s: float  # the fixed loop, just before and after

    def __post_init__(self) -> None:
        """Refuse what could not be compared.

        Raises:
            ValueError: the loop's time is missing or not positive.
        """
        if not self.calibration_s > 0:
            raise ValueError(f"'{self.name}' stands beside a loop of {self.calibration_s} s")


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All measurements of one benchmark."""

    machine: str
    model: str
    measurements: list[Measurement]


def host() -> str:
    """What was measured on, in one sentence."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return f"{cores} cores, {platform.machine()}, Python {platform.python_version()}; load at the end {load}."


def measure(name: str, turn: int, work: Callable[[], Mapping[str, float]]) -> Measurement:
    """What `work` finds out, between two times of the loop."""
    before = calibrate()
    values = dict(work())
    return Measurement(name, turn, values, (before + calibrate()) / 2)


def names(measurements: Iterable[Measurement]) -> list[str]:
    """Who was measured, in the order of appearance."""
    return list(dict.fromkeys(item.name for item in measurements))


def middle(measurements: Iterable[Measurement], name: str, value: str) -> float:
    """The median over the turns."""
    return median(item.values[value] for item in measurements if item.name == name)


def loop(measurements: Iterable[Measurement], name: str) -> float:
    """Seconds of the fixed loop beside `name`, the median over the turns."""
    return median(item.calibration_s for item in measurements if item.name == name)


def ratios(measurements: Sequence[Measurement], ours: str, theirs: str, value: str) -> list[float]:
    """Our value over theirs, turn by turn; turns in which one of them was not measured are left out."""
    found = {(item.name, item.turn): item.values[value] for item in measurements}
    turns = sorted({item.turn for item in measurements})
    return [
        found[ours, turn] / found[theirs, turn]
        for turn in turns
        if (ours, turn) in found and found.get((theirs, turn))
    ]


def spread(found: Sequence[float]) -> str:
    """The median, and from where to where the turns went; empty where there is none."""
    if not found:
        return ""
    if len(found) < SEVERAL:
        return f"{median(found):.2f}"
    return f"{median(found):.2f} ({min(found):.2f} to {max(found):.2f})"


def rows(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *lines))


def options(name: str, document: str | None, example: str) -> argparse.ArgumentParser:
    """What every benchmark of the service can be told."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {name}",
        description=document,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"example: python -m {name} {example}",
    )
    parser.add_argument("--model", default="flights", help="whose bundle in artifacts/ is served (flights)")
    parser.add_argument("--write", action="store_true", help=f"keep the figures in {FIGURES} and {DOCUMENT}")
    parser.add_argument("--json", action="store_true", help="for a program to read")
    return parser


def tell(
    name: str,
    section: Section,
    table: Callable[[Sequence[Measurement]], str],
    given: argparse.Namespace,
) -> None:
    """Print the measurements, and keep them where that was asked for."""
    if given.write:
        keep(name, section, table)
    if given.json:
        print(msgspec.json.format(msgspec.json.encode(section), indent=1).decode())
    else:
        print(part(section, table))


def part(section: Section, table: Callable[[Sequence[Measurement]], str]) -> str:
    """What stands in the document about a section."""
    return f"{section.machine}\n\n{table(section.measurements)}"


def keep(
    name: str,
    section: Section,
    table: Callable[[Sequence[Measurement]], str],
    figures: Path = FIGURES,
    document: Path = DOCUMENT,
) -> None:
    """Put a section into the figures and its table into the document; the other sections stay.

    Raises:
        FlightlineError: the document has no place for it, or the figures cannot be read.
    """
    text = fill(document.read_text("utf-8"), {name: part(section, table)})
    kept = read(figures) if figures.exists() else {}
    kept[name] = section
    raw = msgspec.json.format(msgspec.json.encode(dict(sorted(kept.items()))), indent=1)
    for path, data in ((figures, raw + b"\n"), (document, text.encode())):
        replace(path, data)
        path.chmod(0o644)


def read(figures: Path = FIGURES) -> dict[str, Section]:
    """The sections that were kept.

    Raises:
        FlightlineError: the file holds something else.
    """
    try:
        return msgspec.json.decode(figures.read_bytes(), type=dict[str, Section])
    except (OSError, msgspec.MsgspecError) as error:
        raise FlightlineError(
            f"{figures} cannot be read ({error})", "the figures of benchmarks", "Run: make bench-serving"
        ) from None
