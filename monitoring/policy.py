"""What is allowed before somebody is alerted or a model is retrained: a model's `monitoring:` section."""

from typing import Annotated

import msgspec

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]


class HealthPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When data is too bad to learn from. Each increase is a share of rows above the reference's own share.

    min_rows: rows; below it only the schema is judged, since a share of a few rows says nothing.
    missing_increase: share of rows by which missing or NaN values of a feature may exceed the reference.
    unknown_increase: the same, for categories that neither contract nor reference knows.
    range_increase: the same, for values outside the contract's range, infinities included.
    duplicates: share of rows that may repeat a request_id.
    """

    min_rows: Count
    missing_increase: Share
    unknown_increase: Share
    range_increase: Share
    duplicates: Share


class DriftPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a window differs from the reference by more than its own noise.

    psi: PSI (population stability index, nats); floor of every column's threshold.
    drifted_share: share of the counted features that must drift before the window alarms.
    min_rows: rows each side must have; below it the answer is insufficient.
    min_days: different days each side must have, since rows of one day resemble each other. The reference
        needs twice as many, because calibration splits its days in two.
    seasonal: names of features that follow the calendar; they are reported and never counted.
    noise_quantile: share of no-drift resamples that must stay below a column's threshold.
    resamples: number of random splits of the reference's days.
    max_rows: rows of each side that are compared. Evidently replaces the share of an empty bin by 1e-4 up to
        about 10,000 rows and by nearly nothing above, where PSI jumps: stay below.
    rare_share: share of reference rows below which categories are compared as one, "(rare)".
    """

    psi: Positive
    drifted_share: Share
    min_rows: Count
    min_days: Count
    seasonal: tuple[str, ...] = ()
    noise_quantile: Share = 0.99
    resamples: Count = 200
    max_rows: Count = 8_000
    rare_share: Share = 0.005


class PerformancePolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When arrived labels show that a model has become worse.

    min_labels: labelled predictions; below it the answer is insufficient.
    min_days: different days with labels, the blocks of the bootstrap.
    min_coverage: share of predictions whose label has arrived. What arrives first is not a fair sample: a
        late flight's label is late too.
    calibration_gap: probability; largest tolerated |mean predicted - observed share| of a class.
    log_loss_increase: nats above the baseline's log loss that the whole interval must exceed.
    min_accuracy: share of right predictions that the whole interval must stay below to be worse; null never.
        The only one of these that can judge a model whose scores are no probabilities.
    confidence: share of bootstrap resamples inside an interval.
    resamples: number of bootstrap resamples of days.
    """

    min_labels: Count
    min_days: Count
    min_coverage: Share
    calibration_gap: Share
    log_loss_increase: Annotated[float, msgspec.Meta(ge=0)]
    min_accuracy: Share | None = None
    confidence: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.95
    resamples: Count = 1_000


class RetrainPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When to retrain, and what holds a retraining back.

    min_new_labels: labelled rows since the last training; below it the answer is insufficient.
    drift_windows: checks in a row that must alarm before drift alone retrains, each of another day and of one
        champion. Checks that follow one another more closely than their window share rows.
    volume_labels: labelled rows since the last training that are a reason by themselves; null never.
    max_age_days: days since the last training that are a reason by themselves; null never.
    cooldown_days: days after a retraining in which no other starts; doubled by every rejection in a row.
    weekly_budget: retrainings started in any seven days.
    max_rejections: rejections in a row that open the circuit, until a person resets it.
    """

    min_new_labels: Count
    drift_windows: Count
    cooldown_days: Annotated[float, msgspec.Meta(ge=0)]
    weekly_budget: Count
    max_rejections: Count
    volume_labels: Count | None = None
    max_age_days: Positive | None = None


class MonitoringPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The `monitoring:` section of one model in `policy.yaml`."""

    health: HealthPolicy
    drift: DriftPolicy
    performance: PerformancePolicy
    retrain: RetrainPolicy
