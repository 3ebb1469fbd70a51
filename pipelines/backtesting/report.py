"""The findings as the Markdown tables of docs/backtest.md, each a part with a name."""

from collections.abc import Iterable

from pipelines.backtesting.comparison import Comparison, Month, Score
from pipelines.backtesting.findings import OUTCOMES, Findings, Training
from pipelines.backtesting.intervals import CONFIDENCE, Interval
from pipelines.backtesting.strategies import STATIC

_SHOWN = ("roc_auc", "log_loss", "log_loss_skill", "calibration_error", "fall", "rise", "gap")
_MODELS = {"baseline": "trivial rule", "simple": "simple linear model"}


def parts(model: str, found: Findings) -> dict[str, str]:
    """Part -> Markdown; single trainings and duels only where there is one a month."""
    shown = {"ranges": _ranges(found), "gates": _gates(found)}
    if found.duels:
        shown |= {"trainings": _trainings(found), "duels": _matrix(found)}
    if found.comparison is not None:
        shown |= {
            "baselines": _baselines(found),
            "summary": _summary(found.comparison),
            "picture": f"![Log loss and ROC AUC by month, three strategies](backtest-{model}.svg)",
            "months": _months(found.comparison),
            "decisions": _decisions(found.comparison),
        }
    return shown


def _summary(found: Comparison) -> str:
    whole = found.together
    lines = [
        (
            score.strategy,
            str(found.retrainings[score.strategy]),
            str(found.replacements[score.strategy]),
            _plain(score.log_loss),
            _signed(score.log_loss_difference),
            _plain(score.roc_auc),
            _signed(score.roc_auc_difference),
        )
        for score in whole.scores
    ]
    head = ("strategy", "retrainings", "new models", "log loss", "minus static", "ROC AUC", "minus static")
    about = (
        f"{whole.rows:,} flights with a label, {len(found.months)} months. In brackets: "
        f"{CONFIDENCE:.0%} intervals, {whole.days} days drawn anew; differences are paired."
    )
    return f"{about}\n\n{_table(head, lines)}\n\n{' '.join(_sentences(whole))}"


def _sentences(whole: Month) -> Iterable[str]:
    """What the intervals of the differences allow to be said, and no more."""
    for score in whole.scores:
        if score.log_loss_difference is None or score.roc_auc_difference is None:
            continue
        loss, auc = score.log_loss_difference, score.roc_auc_difference
        yield (
            f"Retrained {score.strategy}, the log loss is {_verdict(-loss.high, -loss.low)} "
            f"and the ROC AUC is {_verdict(auc.low, auc.high)}."
        )


def _verdict(low: float, high: float) -> str:
    """What the interval from `low` to `high` of an improvement allows to be said."""
    return "better than static" if low > 0 else "worse than static" if high < 0 else "not shown to differ"


def _months(found: Comparison) -> str:
    lines = [
        (
            month.name if score.strategy == STATIC else "",
            f"{month.rows:,}" if score.strategy == STATIC else "",
            f"{month.positive:.1%}" if score.strategy == STATIC else "",
            score.strategy,
            score.training,
            *_cells(score, month.scores[0]),
        )
        for month in found.months
        for score in month.scores
    ]
    head = ("month", "flights", "late", "strategy", "trained as of")
    return _table((*head, "log loss", "minus static", "ROC AUC", "minus static"), lines)


def _cells(score: Score, base: Score) -> tuple[str, str, str, str]:
    if score.training == base.training:  # then every difference is zero, which nothing was measured for
        same = "" if score.strategy == base.strategy else "same model"
        return _plain(score.log_loss), same, _plain(score.roc_auc), same
    return (
        _plain(score.log_loss),
        _signed(score.log_loss_difference),
        _plain(score.roc_auc),
        _signed(score.roc_auc_difference),
    )


def _decisions(found: Comparison) -> str:
    lines = [
        (
            step.month,
            step.champion,
            step.action,
            step.reason.partition(":")[0],
            step.performance,
            step.drift,
            f"{step.outcome}{': ' + step.why if step.why else ''}" or "none was trained",
        )
        for step in found.steps
    ]
    head = ("at the end of", "champion as of", "decision", "cause", "performance", "drift", "challenger")
    return _table(head, lines)


def _ranges(found: Findings) -> str:
    lines = ((name, f"{a:.4f}", f"{b:.4f}") for name, (a, b) in found.ranges().items())
    return _table(("figure", "least", "most"), lines)


def _gates(found: Findings) -> str:
    lines = ((code, *(str(count[word]) for word in OUTCOMES)) for code, count in found.gates.items())
    return _table(("gate", *OUTCOMES), lines)


def _baselines(found: Findings) -> str:
    lines = [
        (one.name if own else "", who, *(f"{value:.4f}" for value in row))
        for one in found.trainings
        for own, who, row in _rows(one)
    ]
    return _table(("as of", "model", "log loss", "ROC AUC", "skill"), lines)


def _rows(one: Training) -> Iterable[tuple[bool, str, tuple[float, ...]]]:
    trivial = one.rivals["baseline"]["log_loss"]
    models = {"boosted trees": one.figures, **{_MODELS[r]: one.rivals[r] for r in ("simple", "baseline")}}
    for who, metrics in models.items():
        loss = metrics["log_loss"]
        yield who == "boosted trees", who, (loss, metrics["roc_auc"], 1 - loss / trivial)


def _trainings(found: Findings) -> str:
    lines = (
        (
            one.name,
            f"{one.rows['train']:,}",
            str(one.iterations),
            *(f"{one.figures[name]:.4f}" if name in one.figures else "" for name in _SHOWN),
            "; ".join(one.failed) or "none",
        )
        for one in found.trainings
    )
    return _table(("as of", "rows", "iterations", *_SHOWN, "failed"), lines)


def _matrix(found: Findings) -> str:
    """Challengers down, champions across: the mean difference of the loss and its interval."""
    said = {(duel.challenger, duel.champion): f"{duel.value} {duel.verdict}" for duel in found.duels}
    names = [one.name for one in found.trainings]
    lines = (
        (challenger, *(said.get((challenger, champion), "") for champion in names[:-1]))
        for challenger in names[1:]
    )
    return _table(("G05: challenger", *(f"against {name}" for name in names[:-1])), lines)


def _plain(item: Interval) -> str:
    return f"{item.value:.4f} [{item.low:.4f}, {item.high:.4f}]"


def _signed(item: Interval | None) -> str:
    return f"{item.value:+.4f} [{item.low:+.4f}, {item.high:+.4f}]" if item else ""


def _table(head: tuple[str, ...], lines: Iterable[tuple[str, ...]]) -> str:
    rows = [head, ("---",) * len(head), *(tuple(map(_cell, line)) for line in lines)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(text: str) -> str:
    """`text` on one line and without the sign that ends a cell."""
    return " ".join(text.replace("|", "/").split())
