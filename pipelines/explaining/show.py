"""The walk as tables on the screen."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from training.explaining import ENSEMBLES, Step

if TYPE_CHECKING:
    from pipelines.explain import Explained

WIDTH = 118  # columns where the output is no terminal
LONG = 60  # characters of a value
SHOWN = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500)  # sums after so many trees


def show(found: "Explained") -> None:
    """Print one table a step, raw to answer."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    subject = found.subject
    console.print(f"{found.model} · {subject.id}" + (f" · predicted at {subject.at}" if subject.at else ""))
    if subject.facts:
        _print(console, "1 Facts of the row", ("fact", "value"), subject.facts.items())
    if subject.windows:
        rows = (
            (
                window.stream,
                _pairs(window.keys),
                f"({_moment(window.since)}, {_moment(window.until)}]",
                window.events,
                _pairs({key: value for key, value in window.latest.items() if key not in window.keys}),
            )
            for window in subject.windows
        )
        head = ("events", "of", "window, UTC", "count", "the last one")
        _print(console, "2 What was known of the past", head, rows)
    lines = (
        (one.name, _short(one.value), one.unit, one.source, one.window, one.check) for one in found.features
    )
    _print(console, "3 Features", ("feature", "value", "unit", "source", "window", "contract"), lines)
    vectors = ((name, _short(values, 4000)) for name, values in found.inputs.items())
    _print(console, "4 The graph's inputs", ("input", "values, numbers as float32"), vectors)
    nodes = ((step.operator, step.output, _short(step.values)) for step in found.steps)
    _print(console, "5 The graph's steps", ("operator", "output", "values"), nodes)
    if found.trees:
        trees = found.trees
        total, sums = trees.base, [("base", "", f"{trees.base:+.6f}")]
        for number, leaf in enumerate(trees.leaves, 1):
            total += leaf
            if number in SHOWN or number == len(trees.leaves):
                sums.append((f"tree {number}", f"{leaf:+.6f}", f"{total:+.6f}"))
        title = (
            f"6 {len(trees.leaves)} trees: base + leaves {trees.raw:.6f}, {trees.transform} {trees.score:.6f}"
        )
        _print(console, title, ("after", "its leaf", "sum"), sums)
    else:
        console.print(f"\n6 {without_sums(found.steps)}", style="bold")
    scores = ((name, f"{value:.7f}") for name, value in found.scores.items())
    _print(console, f"7 Answer: {found.answer}", ("class", found.kind), scores)
    if found.fitted_difference is not None:
        console.print(
            f"largest difference to the fitted scikit-learn pipeline: {found.fitted_difference:.2e}"
        )
    known = f"{subject.outcome}, known since {subject.outcome_at}" if subject.outcome else "not known"
    console.print(f"outcome: {known}")
    effects = (
        (one.feature, _short(one.value), _short(one.typical), f"{one.change:+.6f}") for one in found.effects
    )
    title = f"8 Occlusion: change of the score of '{found.about}' with a typical training value instead"
    _print(console, title, ("feature", "value", "median or mode", "change"), effects)
    console.print("Occlusion is one feature at a time: features that say the same hide one another.")


def without_sums(steps: Iterable[Step]) -> str:
    """Why there is no walk from tree to tree: no trees, or trees that add up to several scores at once."""
    if any(step.operator in ENSEMBLES for step in steps):
        return "No sums: the trees add up to one score a class, and only a single score is walked; see step 5"
    return "No sums: the graph has no trees; step 5 is all it does"


def _print(console: Any, title: str, head: tuple[str, ...], rows: Iterable[Iterable[object]]) -> None:
    from rich.table import Table

    console.print(f"\n{title}", style="bold")
    table = Table()
    for name in head:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    console.print(table)


def _short(value: object, limit: int = LONG) -> str:
    if value is None:
        return "missing"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = ", ".join(_short(item) for item in value) if isinstance(value, tuple | list) else str(value)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(
        f"{key} {_moment(value) if hasattr(value, 'year') else _short(value)}"
        for key, value in values.items()
    )


def _moment(value: Any) -> str:
    return f"{value:%m-%d %H:%M}"
