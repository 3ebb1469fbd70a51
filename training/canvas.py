"""A sheet to draw on in one style, and as equal bytes for equal pictures."""

import io
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

# Okabe and Ito (2008): told apart by colour-blind readers, and by their brightness when printed grey.
BLUE, ORANGE, GREEN, PURPLE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY)
LINES = ("-", "--", "-.", ":")
INK, FAINT, GRID = "#222222", "#666666", "#dddddd"
STYLE: dict[Any, Any] = {
    "figure.dpi": 150,
    "figure.facecolor": "white",
    "figure.constrained_layout.h_pad": 0.12,  # inches
    "figure.constrained_layout.w_pad": 0.12,
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlepad": 10,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
}


@contextmanager
def drawing(
    width: float, height: float, *, rows: int = 1, heights: tuple[float, ...] = (1,), tight: bool = True
) -> Iterator[tuple[Any, Any]]:
    """A figure of so many inches and its axes, whatever the reader's own settings of matplotlib are."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        figure = Figure(figsize=(width, height), layout="constrained" if tight else None)
        yield figure, figure.subplots(rows, height_ratios=heights, sharex=True)


def png(figure: Any) -> bytes:
    """The figure without a date or a version, so that equal pictures are equal bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    held = io.BytesIO()
    canvas: Any = FigureCanvasAgg(figure)
    canvas.print_png(held, metadata={"Software": None})
    return held.getvalue()


def nothing(title: str, reason: str) -> bytes:
    """A picture that says why there is none, so that a missing one is never taken for a forgotten one."""
    with drawing(6.4, 1.6) as (figure, axes):
        axes.axis("off")
        axes.set_title(title)
        axes.text(0, 0.5, f"not applicable: {reason}", color=FAINT, transform=axes.transAxes)
        return png(figure)


def table(
    title: str,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    widths: Sequence[int],
    colours: Mapping[int, Sequence[str]],
) -> bytes:
    """Text in columns of so many characters; a cell that is too long goes on in a further line."""
    wrapped = [
        [textwrap.wrap(cell, width) or [""] for cell, width in zip(row, widths, strict=True)] for row in rows
    ]
    tall = [max(len(cell) for cell in row) for row in wrapped]
    line, letter = 0.19, 0.075  # inches of a line of text, and of a character
    height = 0.95 + sum(count * line + 0.1 for count in tall)
    width = sum(widths) * letter + 0.3
    lefts = np.cumsum([0, *widths[:-1]]) * letter + 0.15
    with drawing(width, height, tight=False) as (figure, axes):
        axes.set_position((0, 0, 1, 1))
        axes.set(xlim=(0, width), ylim=(height, 0))
        axes.axis("off")
        axes.text(0.15, 0.3, title, weight="bold", fontsize=11)
        for left, text in zip(lefts, head, strict=True):
            axes.text(left, 0.66, text, color=FAINT, fontsize=9)
        y = 0.78
        for number, (row, count) in enumerate(zip(wrapped, tall, strict=True)):
            axes.plot([0.15, width - 0.15], [y, y], color=GRID, linewidth=0.8)
            for column, (left, cell) in enumerate(zip(lefts, row, strict=True)):
                ink = colours[column][number] if column in colours else INK
                axes.text(left, y + 0.05, "\n".join(cell), va="top", color=ink, fontsize=9, linespacing=1.35)
            y += count * line + 0.1
        return png(figure)
