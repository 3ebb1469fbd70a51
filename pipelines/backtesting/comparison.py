"""Each strategy on each month: log loss and ROC AUC of what it answered, beside never retraining at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import polars as pl

from contract.schema import Contract
from pipelines.backtesting.intervals import Floats, Interval, Resampled, interval
from pipelines.backtesting.strategies import STATIC, Chosen, Step
from pipelines.backtesting.trainings import Data, Trained
from pipelines.backtesting.world import answer, rows_of
from training.evaluation import losses
from training.learning import target
from training.model import AT, LABEL

TOGETHER = "all months"


class Score(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One strategy on one month; the differences from `static` are of the same rows and draws."""

    strategy: str
    training: str  # the one that answered; empty where several did
    log_loss: Interval  # nats
    roc_auc: Interval
    log_loss_difference: Interval | None = None  # None for `static` itself
    roc_auc_difference: Interval | None = None


class Month(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One month, or all of them together."""

    name: str
    rows: int  # with a label; one that never arrives counts nowhere
    days: int  # UTC days, the blocks of the bootstrap
    positive: float  # share of rows of the second class
    scores: tuple[Score, ...]


class Comparison(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The strategies beside one another."""

    months: tuple[Month, ...]
    together: Month
    retrainings: dict[str, int]  # strategy -> trainings after the first
    replacements: dict[str, int]  # strategy -> how often another training answers than the month before
    steps: tuple[Step, ...]  # of the strategy `on decision`


@dataclass(frozen=True)
class _Answered:
    """What one training said of one month's labelled rows."""

    loss: Floats
    score: Floats
    label: np.ndarray
    day: np.ndarray


def comparable(contract: Contract) -> bool:
    """Whether log loss and ROC AUC exist for the model: probabilities of two classes."""
    return contract.scores == "probability" and len(contract.classes) == 2  # noqa: PLR2004 - yes or no


def compare(
    contract: Contract, data: Data, trained: Mapping[str, Trained], chosen: Mapping[str, Chosen]
) -> Comparison:
    """Score every strategy of `chosen` (one is `static`) on every month.

    Raises:
        FlightlineError: a training is to answer a row older than something it knows.
    """
    months = list(chosen[STATIC].answers)
    pairs = {(name, month) for item in chosen.values() for month, name in item.answers.items()}
    answered = {
        (name, month): _answer(trained[name], contract, rows_of(data, trained[name], month))
        for name, month in sorted(pairs)
    }

    def scored(name: str, of: Sequence[str]) -> Month:
        parts = {
            strategy: [answered[item.answers[month], month] for month in of]
            for strategy, item in chosen.items()
        }
        who = {
            strategy: ", ".join(dict.fromkeys(item.answers[month] for month in of)) if len(of) == 1 else ""
            for strategy, item in chosen.items()
        }
        return _month(name, parts, who)

    return Comparison(
        months=tuple(scored(month, [month]) for month in months),
        together=scored(TOGETHER, months),
        retrainings={strategy: item.retrainings for strategy, item in chosen.items()},
        replacements={strategy: item.replacements for strategy, item in chosen.items()},
        steps=tuple(step for item in chosen.values() for step in item.steps),
    )


def _answer(trained: Trained, contract: Contract, rows: pl.DataFrame) -> _Answered:
    _, scores = answer(trained, contract, rows)
    known = rows[LABEL].is_not_null().to_numpy()
    labelled = rows.filter(pl.col(LABEL).is_not_null())
    label = target(labelled)
    return _Answered(
        loss=losses(label, scores[known], contract),
        score=scores[known, 1].astype(np.float64),
        label=label,
        day=labelled[AT].dt.date().cast(pl.Int32).to_numpy(),
    )


def _month(name: str, parts: Mapping[str, Sequence[_Answered]], who: Mapping[str, str]) -> Month:
    def joined(strategy: str, what: str) -> np.ndarray:
        return np.concatenate([getattr(part, what) for part in parts[strategy]])

    label, draws = joined(STATIC, "label"), Resampled(joined(STATIC, "day"))
    figures = {
        strategy: (draws.mean(joined(strategy, "loss")), draws.auc(joined(strategy, "score"), label == 1))
        for strategy in parts
    }
    scores = []
    for strategy, (loss, auc) in figures.items():
        base = figures[STATIC]
        gains = () if strategy == STATIC else (interval(loss - base[0]), interval(auc - base[1]))
        scores.append(Score(strategy, who[strategy], interval(loss), interval(auc), *gains))
    return Month(name, len(label), draws.days, float((label == 1).mean()), tuple(scores))
