"""Figures as a Markdown table, and where they are kept."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.calibration import Figure
from pipelines.machine.files import replace
from pipelines.machine.generated import fill

DOCUMENT = Path("docs/benchmarks.md")


def table(figures: Iterable[Figure]) -> str:
    """One row a figure; none without the calibration loop beside it."""
    lines = [
        "| what | time | calibration loop | ratio | asked for | |",
        "| --- | --- | --- | --- | --- | --- |",
        *(
            f"| {figure.name} | {time(figure.seconds)} | {time(figure.calibration_s)} | {figure.ratio:,.4g} "
            f"| {_target(figure)} | {figure.detail} |"
            for figure in figures
        ),
    ]
    return "\n".join(lines)


def time(seconds: float) -> str:
    """Three digits in the unit that suits them."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"


def write(section: str, figures: Sequence[Figure], machine: str, path: Path = DOCUMENT) -> None:
    """Put the figures between the markers of `section`.

    Raises:
        FlightlineError: the document has no such markers.
    """
    text = path.read_text("utf-8")
    replace(path, fill(text, {section: f"{machine}\n\n{table(figures)}"}).encode())
    path.chmod(0o644)


def _target(figure: Figure) -> str:
    return "" if figure.target_s is None else f"under {time(figure.target_s)}"
