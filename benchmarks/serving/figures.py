"""Runs as a table of ratios, and as a picture."""

import io
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import msgspec

from benchmarks.serving.contenders import LIMIT, OURS
from benchmarks.serving.load import Sample


class Run(msgspec.Struct, frozen=True):
    """One measurement."""

    contender: str
    turn: int  # measurements of one turn were taken within seconds of each other
    concurrency: int
    sample: Sample


def table(runs: Sequence[Run]) -> str:
    """Medians over the turns, and the medians of ratios within each turn: ours to theirs."""
    lines = [
        "| connections | contender | requests/s | p50 ms | p99 ms | CPU µs | our rate to theirs | our p99 |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for concurrency in dict.fromkeys(run.concurrency for run in runs):
        for name in dict.fromkeys(run.contender for run in runs):
            own = [run.sample for run in runs if (run.contender, run.concurrency) == (name, concurrency)]
            rate, p50, p99, cpu = (
                median(sample.rate for sample in own),
                median(sample.p50_us for sample in own),
                median(sample.p99_us for sample in own),
                median(sample.cpu_us for sample in own),
            )
            faster = ratio(runs, concurrency, name, lambda sample: sample.rate)
            slower = ratio(runs, concurrency, name, lambda sample: sample.p99_us)
            lines.append(
                f"| {concurrency} | {name} | {rate:,.0f} | {p50 / 1000:.2f} | {p99 / 1000:.2f} | {cpu:.1f} "
                f"| {_times(faster)} | {_times(slower)} |"
            )
    return "\n".join(lines)


def ratio(
    runs: Sequence[Run], concurrency: int, theirs: str, value: Callable[[Sample], float]
) -> float | None:
    """Median over the turns of our `value` over theirs; None where one of them was not measured."""
    found: dict[tuple[str, int], float] = {
        (run.contender, run.turn): value(run.sample) for run in runs if run.concurrency == concurrency
    }
    turns = {turn for _, turn in found}
    pairs = [(found.get((OURS, turn)), found.get((theirs, turn))) for turn in turns]
    ratios = [ours / other for ours, other in pairs if ours is not None and other]
    return median(ratios) if ratios else None


def draw(runs: Sequence[Run]) -> bytes:
    """Requests a second and p99 by number of connections, as an SVG."""
    names = list(dict.fromkeys(run.contender for run in runs))

    def fill(figure: Any) -> None:
        left, right = figure.subplots(1, 2)
        sides: list[tuple[Any, str, Callable[[Sample], float]]] = [
            (left, "requests a second", lambda sample: sample.rate),
            (right, "p99, ms", lambda sample: sample.p99_us / 1000),
        ]
        for axes, title, value in sides:
            for name in names:
                points: dict[int, list[float]] = {}
                for run in runs:
                    if run.contender == name:
                        points.setdefault(run.concurrency, []).append(value(run.sample))
                style = "--" if name == LIMIT else "-"
                axes.plot(
                    list(points), [median(found) for found in points.values()], style, marker="o", label=name
                )
                for concurrency, found in points.items():
                    axes.scatter([concurrency] * len(found), found, s=6, alpha=0.5)
            axes.set(title=title, xlabel="connections", xscale="log", yscale="log")
            axes.grid(alpha=0.3)
        left.legend(frameon=False)

    return svg(fill, (9, 3.6))


def svg(fill: Callable[[Any], None], size: tuple[float, float]) -> bytes:
    """The picture that `fill` draws, the same bytes for the same figures; `size` in inches."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "flightline", "font.size": 9}):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        fill(figure)
        out = io.BytesIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return b"\n".join(line.rstrip() for line in out.getvalue().splitlines()) + b"\n"


def _times(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
