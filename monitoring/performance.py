"""How good logged predictions were, by the labels that had arrived at a moment."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np
import polars as pl

from contract.predictions import SCORE_PREFIX
from contract.schema import Contract
from monitoring.metrics import Floats, Integers, interval_of_means, mean_roc_auc, row_log_loss
from monitoring.policy import PerformancePolicy

Status = Literal["worse", "fine", "insufficient"]
_BINARY = 2


@dataclass(frozen=True)
class Labelled:
    """Predictions with the labels that had arrived, and what could not be used."""

    rows: pl.DataFrame  # the log's columns and `truth`, the class that came true
    predictions: int  # different predictions up to the moment, labelled or not
    unknown_labels: int  # arrived labels that are not a class of the contract; not used

    @property
    def coverage(self) -> float:
        """Share of predictions with a usable label."""
        return self.rows.height / self.predictions if self.predictions else 0.0


@dataclass(frozen=True)
class Estimate:
    """A mean over rows, and its bootstrap interval over days."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """`value [low, high]`."""
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


@dataclass(frozen=True)
class Performance:
    """The verdict on a window by its labels. Log loss and gap are None for scores that are no probability."""

    status: Status
    reason: str
    predictions: int
    labels: int
    coverage: float
    unknown_labels: int
    accuracy: Estimate | None = None
    roc_auc: float | None = None  # None when a class never came true
    log_loss: Estimate | None = None  # nats
    calibration_gap: Estimate | None = None  # mean predicted - observed share


def join_labels(log: pl.DataFrame, labels: pl.DataFrame, contract: Contract, as_of: datetime) -> Labelled:
    """Join `labels` (entity_id, label, arrived_at) that had arrived by `as_of` with the predictions of `log`.

    An entity that was predicted repeatedly counts once, with its last prediction; a label that was
    corrected counts as last corrected; a null label (cancelled) is no label. Rows without an entity_id or
    with an invalid score can be given no verdict, but remain among the predictions.
    """
    made = log.filter(pl.col("event_time") <= as_of).sort("event_time", "received_at", "request_id")
    named = made.filter(pl.col("entity_id").is_not_null()).unique(
        "entity_id", keep="last", maintain_order=True
    )
    anonymous = int(made["entity_id"].is_null().sum())
    arrived = (
        labels.filter(pl.col("arrived_at") <= as_of)
        .sort("arrived_at", "label")
        .unique("entity_id", keep="last", maintain_order=True)
        .filter(pl.col("label").is_not_null())
        .select("entity_id", truth="label")
    )
    joined = named.join(arrived, on="entity_id", how="inner", maintain_order="left")
    known = joined.filter(pl.col("truth").is_in(list(contract.classes)))
    finite = pl.all_horizontal(
        pl.col(SCORE_PREFIX + name).is_finite().fill_null(value=False) for name in contract.classes
    )
    return Labelled(known.filter(finite), named.height + anonymous, joined.height - known.height)


def performance(
    log: pl.DataFrame,
    labels: pl.DataFrame,
    contract: Contract,
    policy: PerformancePolicy,
    as_of: datetime,
    *,
    baseline_log_loss: float | None = None,
    seed: int = 0,
) -> Performance:
    """Judge the predictions of `log` by the labels that had arrived by `as_of`.

    `baseline_log_loss` (nats) is what the model reached when it was evaluated; without it log loss is
    reported and not judged. Intervals come from a seeded bootstrap over days of event time.
    """
    joined = join_labels(log, labels, contract, as_of)
    days = joined.rows["event_time"].dt.date().cast(pl.Int32).to_numpy()
    counted = (joined.predictions, joined.rows.height, joined.coverage, joined.unknown_labels)
    lack = _lack(joined, len(np.unique(days)), policy)
    if lack:
        return Performance("insufficient", lack, *counted)

    def estimate(values: Floats) -> Estimate:
        low, high = interval_of_means(
            values, days, resamples=policy.resamples, confidence=policy.confidence, seed=seed
        )
        return Estimate(float(values.mean()), low, high)

    truth, scores = _arrays(joined.rows, contract)
    accuracy = estimate((joined.rows["label"] == joined.rows["truth"]).cast(pl.Float64).to_numpy())
    auc = mean_roc_auc(scores, truth)
    log_loss = gap = None
    worst = 1
    if contract.scores == "probability":
        log_loss = estimate(row_log_loss(scores, truth))
        surprise = scores - np.eye(len(contract.classes))[truth]  # predicted - observed, (rows, classes)
        if len(contract.classes) > _BINARY:
            worst = int(np.abs(surprise.mean(axis=0)).argmax())
        gap = estimate(surprise[:, worst])
    judged = _judged(
        accuracy, log_loss, gap, contract.classes[worst], policy=policy, baseline=baseline_log_loss
    )
    faults = [sentence for is_worse, sentence in judged if is_worse]
    status: Status = "worse" if faults else "fine" if judged else "insufficient"
    reason = "; ".join(faults or [sentence for _, sentence in judged]) or "the policy has nothing to judge by"
    return Performance(status, reason, *counted, accuracy, None if np.isnan(auc) else auc, log_loss, gap)


def _judged(
    accuracy: Estimate,
    log_loss: Estimate | None,
    gap: Estimate | None,
    name: str,
    *,
    policy: PerformancePolicy,
    baseline: float | None,
) -> list[tuple[bool, str]]:
    """Each judgement the policy can make: whether it is worse, and its numbers."""
    judged = []
    if log_loss is not None and baseline is not None:
        is_worse = log_loss.low > baseline + policy.log_loss_increase
        sentence = f"log loss {log_loss} against {baseline:.4f} (at most {policy.log_loss_increase:.4f} more)"
        judged.append((is_worse, sentence))
    if gap is not None:
        # A gap that a few odd days explain is not a gap of the model.
        is_worse = abs(gap.value) > policy.calibration_gap and not gap.low <= 0 <= gap.high
        judged.append((is_worse, f"calibration gap of {name} {gap} (at most {policy.calibration_gap:.4f})"))
    if policy.min_accuracy is not None:
        is_worse = accuracy.high < policy.min_accuracy
        judged.append((is_worse, f"accuracy {accuracy} (at least {policy.min_accuracy:.4f})"))
    return judged


def _arrays(rows: pl.DataFrame, contract: Contract) -> tuple[Integers, Floats]:
    """Index of the class that came true by row, and scores (rows, classes)."""
    index = {name: position for position, name in enumerate(contract.classes)}
    truth = np.array([index[name] for name in rows["truth"]], dtype=np.int64)
    return truth, rows.select(SCORE_PREFIX + name for name in contract.classes).to_numpy().astype(np.float64)


def _lack(joined: Labelled, days: int, policy: PerformancePolicy) -> str:
    lacking = [
        f"{found} of {least} {what}"
        for found, least, what in (
            (joined.rows.height, policy.min_labels, "labels"),
            (days, policy.min_days, "days with labels"),
        )
        if found < least
    ]
    if joined.coverage < policy.min_coverage:
        lacking.append(f"{joined.coverage:.1%} of {policy.min_coverage:.1%} of predictions labelled")
    return "too little to judge: " + ", ".join(lacking) if lacking else ""
