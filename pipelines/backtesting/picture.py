"""The comparison of the strategies as a picture: the same data give the same bytes."""

import hashlib
import io
from collections.abc import Callable

import msgspec

from pipelines.backtesting.comparison import Comparison, Month, Score
from pipelines.backtesting.intervals import CONFIDENCE, Interval

# Colours that people who confuse red and green tell apart (Okabe and Ito, 2008), and a mark each for print.
_LOOKS = (("#000000", "o", "-"), ("#E69F00", "s", "--"), ("#0072B2", "^", "-."))
_SPREAD = 0.16  # months between two strategies of one month, so that their intervals stay apart


def draw(model: str, found: Comparison, form: str = "svg") -> bytes:
    """Log loss and ROC AUC by month with their intervals, and when each strategy was retrained.

    `form` is `svg` or `png`.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    strategies = [score.strategy for score in found.together.scores]
    rows: tuple[tuple[str, Callable[[Score], Interval]], ...] = (
        ("log loss (nats)", lambda score: score.log_loss),
        ("ROC AUC", lambda score: score.roc_auc),
    )
    # A salt of its own: without one the names inside an SVG are drawn at random.
    with mpl.rc_context({"svg.hashsalt": "flightline", "font.size": 10}):
        figure = Figure(figsize=(10, 8), layout="constrained")
        FigureCanvasAgg(figure)
        *upper, marks = figure.subplots(3, 1, sharex=True, height_ratios=[5, 5, 1.2])
        for axes, (title, read) in zip(upper, rows, strict=True):
            for index, (strategy, look) in enumerate(zip(strategies, _LOOKS, strict=False)):
                colour, mark, line = look
                places = [month + (index - 1) * _SPREAD for month in range(len(found.months))]
                items = [read(month.scores[index]) for month in found.months]
                axes.errorbar(
                    places,
                    [item.value for item in items],
                    yerr=[
                        [item.value - item.low for item in items],
                        [item.high - item.value for item in items],
                    ],
                    color=colour,
                    marker=mark,
                    linestyle=line,
                    capsize=3,
                    label=_label(strategy, found.retrainings[strategy]),
                )
            axes.set_ylabel(title)
            axes.grid(axis="y", alpha=0.3)
        upper[0].set_title(
            f"{model}: three ways of retraining, {CONFIDENCE:.0%} intervals over days", loc="left"
        )
        upper[0].legend(loc="upper right")
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
        metadata = about if form == "svg" else {"Software": None}
        figure.savefig(target, format=form, metadata=metadata)
    # Trailing blanks and a missing last line break would be changed by whoever tidies text files.
    data = target.getvalue()
    return b"\n".join(line.rstrip() for line in data.splitlines()) + b"\n" if form == "svg" else data


def drawn_from(found: Comparison) -> str:
    """What the picture says of its data, so that an outdated one is found without drawing it."""
    return f"drawn from data {hashlib.sha256(msgspec.json.encode(found)).hexdigest()}"


def _is_new(months: tuple[Month, ...], place: int, index: int) -> bool:
    """Whether another training answers this month than the month before."""
    own = months[place].scores[index].training
    return place == 0 or own != months[place - 1].scores[index].training


def _label(strategy: str, retrainings: int) -> str:
    return f"{strategy} ({retrainings} retraining{'' if retrainings == 1 else 's'})"
