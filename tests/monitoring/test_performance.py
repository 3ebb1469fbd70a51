"""Performance by the labels that had arrived, and by no others."""

from datetime import timedelta

import msgspec
import numpy as np
import polars as pl
import pytest
from sklearn import metrics as oracle

from monitoring.performance import join_labels, performance
from tests.monitoring.worlds import CONTRACT, PERFORMANCE, START, labels_of, window

pytestmark = pytest.mark.unit

LOG = window(20, 100, seed=2)
LABELS = labels_of(LOG, seed=2)
END = START + timedelta(days=21)


def judged(log=LOG, labels=LABELS, policy=PERFORMANCE, as_of=END, contract=CONTRACT, **options):
    """The verdict with the defaults of this file."""
    return performance(log, labels, contract, policy, as_of, **options)


def test_every_number_equals_scikit_learns():
    """Log loss, ROC AUC and accuracy of all rows, and the gap by its definition."""
    found = judged()
    truth = (LABELS["label"] == "late").to_numpy()
    late = LOG["score.late"].to_numpy()
    assert found.log_loss.value == pytest.approx(oracle.log_loss(truth, late), abs=1e-9)
    assert found.roc_auc == pytest.approx(oracle.roc_auc_score(truth, late), abs=1e-12)
    assert found.accuracy.value == pytest.approx(oracle.accuracy_score(truth, late > 0.5), abs=1e-12)
    assert found.calibration_gap.value == pytest.approx(late.mean() - truth.mean(), abs=1e-12)
    assert (found.status, found.coverage, found.labels) == ("fine", 1.0, 2_000)


def test_a_label_that_arrives_after_the_moment_does_not_count():
    """Labels travel three hours; one arriving at the moment itself counts, one microsecond later not."""
    moment = LABELS["arrived_at"].sort()[500]
    assert join_labels(LOG, LABELS, CONTRACT, moment).rows.height == int(
        (LABELS["arrived_at"] <= moment).sum()
    )
    before = join_labels(LOG, LABELS, CONTRACT, moment - timedelta(microseconds=1))
    assert (
        before.rows["entity_id"]
        .is_in(LABELS.filter(pl.col("arrived_at") >= moment)["entity_id"].to_list())
        .sum()
        == 0
    )


def test_changing_labels_of_the_future_changes_nothing():
    """The proof that nothing is read early."""
    moment = START + timedelta(days=12)
    future = pl.col("arrived_at") > moment
    flipped = LABELS.with_columns(label=pl.when(future).then(pl.lit("late")).otherwise(pl.col("label")))
    assert judged(as_of=moment) == judged(labels=flipped, as_of=moment)


def test_a_prediction_after_the_moment_does_not_count():
    """A log that runs on past the moment neither adds predictions nor lowers coverage."""
    moment = START + timedelta(days=12)
    until = LOG.filter(pl.col("event_time") <= moment)
    joined = join_labels(LOG, LABELS, CONTRACT, moment)
    assert joined.predictions == until.height < LOG.height


def test_an_entity_counts_once_with_its_last_prediction():
    """A caller that asks again is not two flights."""
    again = LOG.head(50).with_columns(
        event_time=pl.col("event_time") + timedelta(minutes=30),
        version=pl.lit("2"),
        request_id=pl.lit("again"),
    )
    joined = join_labels(pl.concat([LOG, again]), LABELS, CONTRACT, END)
    assert joined.rows.height == joined.predictions == LOG.height
    assert int((joined.rows["version"] == "2").sum()) == 50


def test_a_corrected_label_counts_as_last_corrected():
    """Corrections arrive as later rows; a correction to null withdraws the label."""
    first = LABELS["entity_id"][0]
    correction = pl.DataFrame(
        {"entity_id": [first], "label": [None], "arrived_at": [END - timedelta(hours=1)]},
        schema=LABELS.schema,
    )
    joined = join_labels(LOG, pl.concat([correction, LABELS]), CONTRACT, END)
    assert first not in joined.rows["entity_id"].to_list()


def test_what_cannot_be_joined_lowers_coverage():
    """A prediction without an entity and an unknown label are counted, not dropped in silence."""
    log = LOG.with_columns(entity_id=pl.when(pl.int_range(pl.len()) >= 10).then(pl.col("entity_id")))
    labels = LABELS.with_columns(
        label=pl.when(pl.int_range(pl.len()) < 30).then(pl.lit("diverted")).otherwise(pl.col("label"))
    )
    joined = join_labels(log, labels, CONTRACT, END)
    assert (joined.predictions, joined.unknown_labels, joined.rows.height) == (2_000, 20, 1_970)
    assert joined.coverage == pytest.approx(0.985)


@pytest.mark.parametrize(
    ("log", "labels", "lack"),
    [
        (LOG.head(150), LABELS, "150 of 200 labels"),
        (LOG.head(300), LABELS, "3 of 5 days with labels"),
        (LOG, LABELS.head(1_000), "50.0% of 80.0% of predictions labelled"),
        (LOG.clear(), LABELS.clear(), "0 of 200 labels"),
    ],
)
def test_too_few_labels_are_insufficient(log, labels, lack):
    """A third state, with the numbers that are missing."""
    found = judged(log, labels)
    assert found.status == "insufficient"
    assert lack in found.reason
    assert found.log_loss is None


def test_a_model_that_lost_calibration_is_worse():
    """The world is late 20 points more often than predicted."""
    found = judged(labels=labels_of(LOG, seed=2, offset=0.2))
    assert found.status == "worse"
    assert "calibration gap of late" in found.reason
    assert found.calibration_gap.high < -0.05


def test_a_log_loss_beyond_baseline_and_margin_is_worse():
    """The lower end of the interval has to exceed it; just below it is fine."""
    low = judged().log_loss.low
    margin = PERFORMANCE.log_loss_increase
    assert judged(baseline_log_loss=low - margin - 1e-6).status == "worse"
    assert judged(baseline_log_loss=low - margin + 1e-6).status == "fine"


def test_a_gap_that_days_explain_is_no_fault():
    """With a tolerance of nothing, a gap of the model's own world stays fine because its interval holds 0."""
    strict = msgspec.structs.replace(PERFORMANCE, calibration_gap=0.0)
    found = judged(policy=strict)
    assert found.calibration_gap.value != 0
    assert found.calibration_gap.low <= 0 <= found.calibration_gap.high
    assert found.status == "fine"


def test_the_same_seed_gives_the_same_interval():
    """And another seed another."""
    assert judged(seed=1) == judged(seed=1)
    assert judged(seed=1).log_loss != judged(seed=2).log_loss


def test_scores_that_are_no_probabilities_are_judged_by_accuracy_alone():
    """Without a least accuracy there is nothing to judge by, and that is not fine."""
    decision = msgspec.structs.replace(CONTRACT, scores="decision")
    assert judged(contract=decision, baseline_log_loss=0.1).status == "insufficient"
    accuracy = judged().accuracy
    for least, status in ((accuracy.high - 1e-6, "fine"), (accuracy.high + 1e-6, "worse")):
        found = judged(contract=decision, policy=msgspec.structs.replace(PERFORMANCE, min_accuracy=least))
        assert (found.status, found.log_loss, found.calibration_gap) == (status, None, None)


def test_an_invalid_score_gets_no_verdict_but_counts_as_a_prediction():
    """NaN would make every mean NaN."""
    broken = LOG.with_columns(
        pl.when(pl.int_range(pl.len()) < 10)
        .then(float("nan"))
        .otherwise(pl.col("score.late"))
        .alias("score.late")
    )
    found = judged(broken)
    assert (found.labels, found.predictions) == (1_990, 2_000)
    assert np.isfinite(found.log_loss.value)


def test_one_outcome_alone_has_no_ranking():
    """ROC AUC is then absent rather than a number."""
    assert judged(labels=LABELS.with_columns(label=pl.lit("on_time"))).roc_auc is None


def test_three_classes_name_the_one_that_is_furthest_off():
    """Each class has a gap; the largest is judged."""
    contract = msgspec.structs.replace(CONTRACT, classes=("on_time", "late", "cancelled"))
    thirds = [
        pl.lit(value).alias(f"score.{name}")
        for name, value in zip(contract.classes, (0.5, 0.2, 0.3), strict=True)
    ]
    cycle = pl.Series(["on_time", "on_time", "late", "cancelled", "on_time", "late", "late", "late"] * 250)
    found = judged(LOG.with_columns(thirds), LABELS.with_columns(label=cycle), contract=contract)
    assert "calibration gap of late" in found.reason
    assert found.calibration_gap.value == pytest.approx(0.2 - 0.5)
