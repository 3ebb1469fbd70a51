"""The diagnostics as PNG images: values in, bytes out, and equal values give equal bytes."""

from collections.abc import Mapping, Sequence

import numpy as np

from training.ablation import Ablation
from training.canvas import BLUE, COLOURS, FAINT, GREEN, INK, LINES, ORANGE, SKY, drawing, nothing, png, table
from training.diagnostics import ALL, Bin, Part, Point, Trade
from training.gates.quality import LOWER_IS_BETTER
from training.gates.verdict import Verdict
from training.model import Curve

UNITS = {"log_loss": "log loss (nats per row)", "error_rate": "error rate (share of rows)"}
WORDS = {"pass": ("\u2713", GREEN), "fail": ("\u2717", ORANGE), "not applicable": ("\u2013", FAINT)}
DOWN, UP = "lower is better", "higher is better"


def loss_curve(model: str, curve: Curve) -> bytes:
    """Training and validation loss by iteration, and where the validation loss was least."""
    if not curve.validation:
        return nothing(f"{model}: loss by iteration", "this learner has no iterations")
    with drawing(6.4, 4.0) as (figure, axes):
        for values, name, colour, line in (
            (curve.train, "training", BLUE, "--"),
            (curve.validation, "validation", ORANGE, "-"),
        ):
            axes.plot(range(len(values)), values, line, color=colour, label=name, linewidth=1.8)
        best = int(np.argmin(curve.validation))
        axes.plot(best, curve.validation[best], "o", color=ORANGE)
        axes.annotate(
            f"least {curve.validation[best]:.4f}\nat iteration {best}",
            (best, curve.validation[best]),
            xytext=(0, 26),
            textcoords="offset points",
            ha="center",
            color=FAINT,
            arrowprops={"arrowstyle": "-", "color": FAINT},
        )
        axes.set(xlabel="iteration", ylabel=UNITS.get(curve.metric, curve.metric))
        axes.set_title(f"{model}: loss by iteration")
        axes.legend()
        return png(figure)


def reliability_diagram(model: str, bins: Sequence[Bin], name: str, error: float) -> bytes:
    """Observed share against predicted probability of the class `name`, with the rows in each bin."""
    title = f"{model}: observed against predicted probability"
    if not bins:
        return nothing(title, "the scores are decision values, not probabilities")
    with drawing(5.4, 6.6, rows=2, heights=(3.2, 1)) as (figure, (axes, below)):
        axes.plot([0, 1], [0, 1], ":", color=FAINT, label="perfectly calibrated")
        predicted, observed = [item.predicted for item in bins], [item.observed for item in bins]
        spread = [
            [max(item.observed - item.lower, 0) for item in bins],
            [max(item.upper - item.observed, 0) for item in bins],
        ]
        axes.errorbar(
            predicted, observed, spread, fmt="o-", color=BLUE, capsize=3, label="model, 95 % interval"
        )
        axes.set(xlim=(0, 1), ylim=(0, 1), ylabel=f"observed share of \u2018{name}\u2019")
        axes.set_title(title)
        axes.text(
            0.98,
            0.03,
            f"expected calibration error {error:.4f}",
            ha="right",
            color=FAINT,
            transform=axes.transAxes,
        )
        axes.legend(loc="upper left")
        bars = below.bar(predicted, [item.rows for item in bins], width=0.05, color=SKY)
        below.bar_label(bars, [f"{item.rows:,}" for item in bins], fontsize=8, color=FAINT, padding=1)
        below.set(xlim=(0, 1), xlabel=f"predicted probability of \u2018{name}\u2019", ylabel="rows")
        below.margins(y=0.25)
        below.grid(visible=False)
        return png(figure)


def roc_curve(model: str, points: Sequence[Point], areas: Mapping[str, float]) -> bytes:
    """True against false positive rate, a curve a class; `areas` are the areas below them."""
    title = f"{model}: receiver operating characteristic"
    if not points:
        return nothing(title, "the held-out rows are all of one class")
    with drawing(5.2, 5.2) as (figure, axes):
        axes.plot([0, 1], [0, 1], ":", color=FAINT, label="chance (0.500)")
        for name, colour, line in _styles(areas):
            own = [point for point in points if point.name == name]
            axes.plot(
                [point.false_positive_rate for point in own],
                [point.true_positive_rate for point in own],
                line,
                color=colour,
                linewidth=1.8,
                label=f"{name} (area {areas[name]:.3f})",
            )
        axes.set(xlabel="false positive rate", ylabel="true positive rate", aspect="equal")
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
        axes.set_title(title)
        axes.legend(loc="lower right")
        return png(figure)


def precision_recall_curve(
    model: str, points: Sequence[Trade], areas: Mapping[str, float], shares: Mapping[str, float]
) -> bytes:
    """Precision against recall, a curve a class; `areas` are average precisions, `shares` of the rows."""
    title = f"{model}: precision and recall"
    if not points:
        return nothing(title, "no held-out row is of a class that could be found")
    with drawing(5.2, 5.2) as (figure, axes):
        for name, colour, line in _styles(areas):
            own = [point for point in points if point.name == name]
            axes.plot(
                [point.recall for point in own],
                [point.precision for point in own],
                line,
                color=colour,
                linewidth=1.8,
                label=f"{name} (average precision {areas[name]:.3f})",
            )
            axes.axhline(shares[name], linestyle=":", color=colour, linewidth=1)
        axes.plot([], [], ":", color=FAINT, label="chance: the class\u2019s share of the rows")
        axes.set(xlabel="recall", ylabel="precision", xlim=(-0.01, 1.01), ylim=(-0.01, 1.04))
        axes.set_title(title)
        axes.legend(loc="best", fontsize=9)
        return png(figure)


def slice_plot(model: str, parts: Sequence[Part], metric: str) -> bytes:
    """The loss of each slice with its interval, beside that of all rows."""
    with drawing(6.8, 1.5 + 0.32 * len(parts)) as (figure, axes):
        places = range(len(parts))[::-1]
        for place, part in zip(places, parts, strict=True):
            spread = [[max(part.loss - part.lower, 0)], [max(part.upper - part.loss, 0)]]
            colour = ORANGE if part.name == ALL else BLUE
            axes.errorbar(part.loss, place, xerr=spread, fmt="o", color=colour, capsize=3)
        axes.axvline(parts[0].loss, linestyle=":", color=ORANGE, linewidth=1)
        axes.set_yticks(list(places), [f"{part.name} ({part.rows:,})" for part in parts])
        axes.set(xlabel=f"{UNITS[metric]}, with 95 % interval", ylim=(-0.6, len(parts) - 0.4))
        axes.grid(visible=False, axis="y")
        declared = "" if len(parts) > 1 else " (no slice is declared)"
        axes.set_title(f"{model}: loss by slice, rows in brackets{declared}")
        return png(figure)


def ablation_bars(model: str, found: Ablation) -> bytes:
    """What each group of features adds, with its interval, the largest first."""
    title = f"{model}: what each group of features adds"
    if not found.groups:
        return nothing(title, "no group is declared")
    ranked = sorted(found.groups.items(), key=lambda item: (item[1].gain, item[0]))
    with drawing(6.8, 1.6 + 0.36 * len(ranked)) as (figure, axes):
        gains = [item.gain for _, item in ranked]
        spread = [
            [max(item.gain - item.lower, 0) for _, item in ranked],
            [max(item.upper - item.gain, 0) for _, item in ranked],
        ]
        # Dark where the interval leaves zero out.
        colours = [BLUE if item.lower > 0 else ORANGE if item.upper < 0 else SKY for _, item in ranked]
        axes.barh(range(len(ranked)), gains, xerr=spread, color=colours, ecolor=INK, capsize=3, height=0.6)
        axes.axvline(0, color=INK, linewidth=1)
        axes.set_yticks(range(len(ranked)), [name for name, _ in ranked])
        axes.set_xlabel(
            f"{UNITS[found.metric]}: without the group less with it\n"
            f"95 % interval over {found.blocks} blocks; trained on {found.rows:,} rows"
        )
        axes.grid(visible=False, axis="y")
        axes.set_title(title)
        return png(figure)


def gate_picture(model: str, verdicts: Sequence[Verdict]) -> bytes:
    """The gates as a table: what was found, against what, and the verdict with a mark of its own."""
    marks = [(*WORDS[item.verdict], item.verdict) for item in verdicts]
    rows = [
        (f"{item.code}  {item.title}", f"{mark} {word}", item.value or item.reason, item.threshold)
        for item, (mark, _, word) in zip(verdicts, marks, strict=True)
    ]
    colours = [colour for _, colour, _ in marks]
    head = ("gate", "verdict", "found", "threshold")
    return table(f"{model}: gates", head, rows, (36, 18, 44, 40), {1: colours})


def comparison_picture(model: str, lines: Sequence[Mapping[str, float | str]]) -> bytes:
    """Model, simple model and baseline on the same held-out rows; the best of each line is marked."""
    rows = []
    for line in lines:
        lower = line["metric"] in LOWER_IS_BETTER
        values = {name: float(line[name]) for name in ("model", "simple", "baseline")}
        known = {name: value for name, value in values.items() if np.isfinite(value)}
        best = (min if lower else max)(known, key=lambda name: known[name]) if known else ""
        mark = {best: " \u25c4"} if len(known) > 1 else {}
        cells = [
            f"{value:.4f}{mark.get(name, '')}" if name in known else "\u2013"
            for name, value in values.items()
        ]
        rows.append((str(line["metric"]), *cells, DOWN if lower else UP))
    head = ("metric", "model", "simple model", "baseline", "")
    return table(f"{model}: on the same held-out rows (\u25c4 best)", head, rows, (22, 14, 14, 14, 18), {})


def _styles(names: Mapping[str, float]) -> Sequence[tuple[str, str, str]]:
    """A colour and a kind of line for each name."""
    return [(name, COLOURS[at % len(COLOURS)], LINES[at % len(LINES)]) for at, name in enumerate(names)]
