"""The comparison of the strategies as a picture: the same data give the same bytes."""

import hashlib
import io
from collections.abc import Callable
from typing import Any

import msgspec

from pipelines.backtesting.comparison import Comparison, Month, Score
from pipelines.backtesting.intervals import CONFIDENCE, Interval

# Colours that people who confuse red and green tell apart (Okabe and Ito, 2008), and a mark each for print.
_LOOKS = (("#000000", "o", "-"), ("#E69F00", "s", "--"), ("#0072B2", "^", "-."))
_Read = Callable[[Score], Interval | None]
_PANELS: tuple[tuple[str, _Read], ...] = (
    ("log loss (nats), lower is better", lambda score: score.log_loss),
    ("minus static", lambda score: score.log_loss_difference),
    ("ROC AUC, higher is better", lambda score: score.roc_auc),
    ("minus static", lambda score: score.roc_auc_difference),
)
_SPREAD = 0.16  # months between two strategies of one month, so that their intervals stay apart


def draw(model: str, found: Comparison, form: str = "svg") -> bytes:
    """Log loss and ROC AUC by month with their intervals, both minus static, and when there was a new model.

    `form` is `svg` or `png`.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    strategies = [score.strategy for score in found.together.scores]
    # A salt of its own: without one the names inside an SVG are drawn at random.
    with mpl.rc_context({"svg.hashsalt": "flightline", "font.size": 10}):
        figure = Figure(figsize=(10, 12), layout="constrained")
        FigureCanvasAgg(figure)
        *panels, marks = figure.subplots(5, 1, sharex=True, height_ratios=[4, 3, 4, 3, 1.2])
        for axes, (title, read) in zip(panels, _PANELS, strict=True):
            for index in range(len(strategies)):
                _line(axes, found.months, index, read)
            axes.set_ylabel(title)
            axes.grid(axis="y", alpha=0.3)
        for axes in (panels[1], panels[3]):
            axes.axhline(0, color=_LOOKS[0][0], linewidth=1)
        labels = [_label(strategy, found.retrainings[strategy]) for strategy in strategies]
        lines = panels[0].containers[: len(labels)]
        title = f"{model}: three ways of retraining, {CONFIDENCE:.0%} intervals over days"
        figure.legend(
            lines,
            labels,
            title=title,
            title_fontsize=12,
            loc="outside upper center",
            ncols=len(labels),
            frameon=False,
        )
        for index, (colour, mark, _) in enumerate(_LOOKS[: len(strategies)]):
            new = [place for place, month in enumerate(found.months) if _is_new(found.months, place, index)]
            marks.scatter(new, [-index] * len(new), color=colour, marker=mark)
        marks.set_yticks([-index for index in range(len(strategies))], strategies)
        marks.set_ylim(-len(strategies) + 0.4, 0.6)
        marks.set_ylabel("new\nmodel")
        marks.set_xticks(range(len(found.months)), [month.name for month in found.months])
        marks.grid(axis="x", alpha=0.3)
        target = io.BytesIO()
        about = {"Date": None, "Creator": None, "Description": drawn_from(found)}
        figure.savefig(target, format=form, metadata=about if form == "svg" else {"Software": None})
    # Trailing blanks and a missing last line break would be changed by whoever tidies text files.
    data = target.getvalue()
    return b"\n".join(line.rstrip() for line in data.splitlines()) + b"\n" if form == "svg" else data


def _line(axes: Any, months: tuple[Month, ...], index: int, read: _Read) -> None:
    """One strategy in one panel; where it has no difference to show, nothing."""
    colour, mark, line = _LOOKS[index]
    read_months = [(place, read(month.scores[index])) for place, month in enumerate(months)]
    shown = [(place + (index - 1) * _SPREAD, item) for place, item in read_months if item is not None]
    if not shown:
        return
    axes.errorbar(
        [place for place, _ in shown],
        [item.value for _, item in shown],
        yerr=[[item.value - item.low for _, item in shown], [item.high - item.value for _, item in shown]],
        color=colour,
        marker=mark,
        linestyle=line,
        capsize=3,
    )


def drawn_from(found: Comparison) -> str:
    """What the picture says of its data, so that an outdated one is found without drawing it."""
    return f"drawn from data {hashlib.sha256(msgspec.json.encode(found)).hexdigest()}"


def _is_new(months: tuple[Month, ...], place: int, index: int) -> bool:
    """Whether another training answers this month than the month before."""
    own = months[place].scores[index].training
    return place == 0 or own != months[place - 1].scores[index].training


def _label(strategy: str, retrainings: int) -> str:
    return f"{strategy} ({retrainings} retraining{'' if retrainings == 1 else 's'})"
