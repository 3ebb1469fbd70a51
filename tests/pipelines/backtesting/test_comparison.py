"""The figures are those of the labelled rows, and no model answers what it may have learnt from."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from contract.errors import FlightlineError
from monitoring.metrics import roc_auc
from pipelines.backtesting.comparison import compare
from pipelines.backtesting.findings import Findings
from pipelines.backtesting.picture import draw, drawn_from
from pipelines.backtesting.report import parts
from pipelines.backtesting.strategies import MONTHLY, ON_DECISION, STATIC, Chosen, monthly, static
from pipelines.backtesting.trainings import Data, Trained
from pipelines.backtesting.world import answer, month_of, rows_of
from tests.conftest import toy_contract, toy_graph
from training.evaluation import losses
from training.export import run
from training.model import AT, ID, LABEL, LABEL_AT

pytestmark = pytest.mark.unit

CONTRACT = msgspec.structs.replace(toy_contract("toy"), classes=("no", "yes"))
MONTHS = ["2013-04", "2013-05"]
APRIL, MAY = (datetime(2013, month, 1, tzinfo=UTC) for month in (4, 5))


def examples(seed: int = 0) -> pl.DataFrame:
    """Ten rows a day in April and May; every seventh never gets a label."""
    generator = np.random.default_rng(seed)
    at = [APRIL + timedelta(days=day, hours=hour) for day in range(61) for hour in range(10)]
    label = pl.Series(generator.integers(0, 2, len(at)))
    return pl.DataFrame(
        {
            ID: [str(index) for index in range(len(at))],
            AT: at,
            LABEL: label,
            LABEL_AT: [moment + timedelta(hours=3) for moment in at],
            "width": generator.uniform(0, 10, len(at)),
            "height": generator.uniform(-5, 5, len(at)),
            "letter": generator.choice(["A", "B"], len(at)),
        }
    ).with_columns(pl.when(pl.int_range(pl.len()) % 7 > 0).then(LABEL).alias(LABEL))


def trained(name: str, as_of: datetime, seed: int, learnt_until: datetime | None = None) -> Trained:
    """A training of which only the moment and the graph are looked at."""
    return Trained(
        name=name,
        as_of=as_of,
        learnt_until=learnt_until or as_of,
        rows={},
        iterations=0,
        metrics={},
        rivals={},
        learned={},
        verdicts=(),
        graph=toy_graph(CONTRACT, seed),
        test=pl.DataFrame(),
        folder=Path(),
    )


DATA = Data({}, examples())
TRAINED = {"2013-04": trained("2013-04", APRIL, 1), "2013-05": trained("2013-05", MAY, 2)}


def test_a_month_is_its_own_days():
    """From its first moment to before the next one's, over the turn of the year too."""
    assert rows_of(DATA, TRAINED["2013-04"], "2013-05")[AT].dt.month().unique().to_list() == [5]
    assert month_of("2013-12", APRIL) == (datetime(2013, 12, 1, tzinfo=UTC), datetime(2014, 1, 1, tzinfo=UTC))


def test_the_figures_are_those_of_the_labelled_rows():
    """Log loss and AUC as computed from the graph by hand; rows without a label count nowhere."""
    found = compare(CONTRACT, DATA, TRAINED, {STATIC: static(MONTHS), MONTHLY: monthly(MONTHS)})
    may = found.months[1]
    rows = DATA.examples.filter(pl.col(AT) >= MAY, pl.col(LABEL).is_not_null())
    label = rows[LABEL].to_numpy()
    assert (may.name, may.rows, may.days) == ("2013-05", rows.height, 31)
    assert may.positive == pytest.approx(label.mean())
    for score, graph in zip(may.scores, (TRAINED["2013-04"].graph, TRAINED["2013-05"].graph), strict=True):
        scores = run(graph, CONTRACT, rows)[1]
        assert score.log_loss.value == pytest.approx(losses(label, scores, CONTRACT).mean())
        assert score.roc_auc.value == pytest.approx(roc_auc(scores[:, 1], label == 1))
    own, other = may.scores
    assert other.log_loss_difference.value == pytest.approx(other.log_loss.value - own.log_loss.value)
    assert other.roc_auc_difference.value == pytest.approx(other.roc_auc.value - own.roc_auc.value)
    assert own.log_loss_difference is None


def test_all_months_together_are_all_rows():
    """The whole is the mean of the months, by their rows; its days are all days."""
    found = compare(CONTRACT, DATA, TRAINED, {STATIC: static(MONTHS), MONTHLY: monthly(MONTHS)})
    assert found.together.rows == sum(month.rows for month in found.months)
    assert found.together.days == 61
    for index in (0, 1):
        means = [month.scores[index].log_loss.value for month in found.months]
        expected = np.average(means, weights=[month.rows for month in found.months])
        assert found.together.scores[index].log_loss.value == pytest.approx(expected)
    april = found.months[0].scores[1]
    assert (april.log_loss_difference.low, april.log_loss_difference.high) == (0, 0)  # the same model


def test_a_strategy_that_peeks_is_refused():
    """The model as of the end of a month was fitted on that month: it may not answer it."""
    peeking = Chosen({"2013-04": "2013-05", "2013-05": "2013-05"}, 1)
    with pytest.raises(
        FlightlineError, match=r"the training 2013-05 knows what came until 2013-05-01 .* it peeks"
    ):
        compare(CONTRACT, DATA, TRAINED, {STATIC: static(MONTHS), MONTHLY: peeking})


def test_a_training_that_learnt_more_than_it_says_is_refused():
    """Not its name counts but the last label that reached it: one hour into the month is too late."""
    late = trained("2013-04", APRIL, 1, learnt_until=APRIL + timedelta(hours=1))
    with pytest.raises(FlightlineError, match="answers only for rows after everything it was fitted on"):
        answer(late, CONTRACT, rows_of(DATA, late, "2013-04"))


def test_a_month_without_rows_is_said():
    """A month that the data do not cover has no figures, rather than empty ones."""
    with pytest.raises(FlightlineError, match="no row to answer"):
        answer(TRAINED["2013-05"], CONTRACT, rows_of(DATA, TRAINED["2013-05"], "2013-08"))


@pytest.fixture
def comparison():
    """Three strategies, the third of which retrained in vain."""
    chosen = {STATIC: static(MONTHS), MONTHLY: monthly(MONTHS), ON_DECISION: static(MONTHS)}
    return compare(CONTRACT, DATA, TRAINED, chosen)


def test_the_same_data_give_the_same_picture(comparison):
    """No date, no random name; and the picture says what it was drawn from."""
    first = draw("toy", comparison)
    assert first == draw("toy", comparison)
    assert drawn_from(comparison).encode() in first
    for word in (b"Date", b"dc:date", b"/tmp"):
        assert word not in first


def test_the_tables_show_what_was_compared(comparison):
    """One row a month and strategy; the same model needs no difference, another has one with its interval."""
    shown = parts("toy", Findings((), {}, comparison=comparison))
    months = shown["months"].splitlines()[2:]
    assert len(months) == 6
    assert months[5].count("same model") == 2
    assert f"{comparison.months[1].scores[1].log_loss_difference.value:+.4f} [" in months[4]
    assert shown["summary"].count("\n| ") == 5


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (-0.02, -0.01, "better than static"),
        (0.01, 0.02, "worse than static"),
        (-0.01, 0.01, "not shown to differ"),
    ],
)
def test_a_sentence_says_no_more_than_the_interval(comparison, low, high, words):
    """Only an interval on one side of zero is called better or worse; a lower loss is the better one."""
    scores = comparison.together.scores
    loss = msgspec.structs.replace(scores[1].log_loss_difference, low=low, high=high)
    changed = (scores[0], msgspec.structs.replace(scores[1], log_loss_difference=loss))
    together = msgspec.structs.replace(comparison.together, scores=changed)
    found = msgspec.structs.replace(comparison, together=together)
    summary = parts("toy", Findings((), {}, comparison=found))["summary"]
    assert f"Retrained monthly, the log loss is {words} and" in summary
