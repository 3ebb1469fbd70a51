"""The typed form of a model's `gates` section in policy.yaml."""

from typing import Annotated, Literal

import msgspec

from contract.strict import near_miss

# No limit may be one that everything fulfils: a number that cannot be meant is refused where it is read.
Share = Annotated[float, msgspec.Meta(gt=0, le=1)]
Amount = Annotated[float, msgspec.Meta(ge=0)]
Name = Annotated[str, msgspec.Meta(min_length=1)]
Seed = Annotated[int, msgspec.Meta(ge=0)]


class Convergence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """G01. Shares are of the loss at the first iteration; losses in the curve's own unit."""

    min_fall: Share  # share by which the validation loss must fall from first to best
    max_rise: Amount  # how far the validation loss may end above its best
    max_gap: Amount  # how far the validation loss may end above the training loss


class Overfit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """G02. The mean loss left on rows learnt by heart: nats, or errors where scores are decisions."""

    max_loss: Annotated[float, msgspec.Meta(ge=0, le=0.3)]  # guessing costs 0.69 nats or 0.5 errors


class Bound(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of G03: a metric of the held-out period with the least or the most it may be."""

    metric: Name
    min: float | None = None
    max: float | None = None

    def __post_init__(self) -> None:
        """Refuse a bound that is none.

        Raises:
            ValueError: it has neither end, or the ends have nothing between them.
        """
        if self.min is None and self.max is None:
            raise ValueError(f"'{self.metric}' has neither min nor max")
        if self.min is not None and self.max is not None and not self.min <= self.max:
            raise ValueError(f"'{self.metric}' has min {self.min} above max {self.max}")


class Beats(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """G04. By how much `metric` must be better than each of the two rivals, in its own unit."""

    metric: Name
    over_baseline: Amount
    over_simple: Amount


class NotWorse(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """G05. Mean loss per row may exceed the champion's by less than `margin` at `confidence`."""

    margin: Annotated[float, msgspec.Meta(ge=0, le=1)]
    confidence: Annotated[float, msgspec.Meta(gt=0.5, lt=1)]  # 0.5 and below would be no bound at all
    resamples: Annotated[int, msgspec.Meta(ge=100)]  # fewer say nothing about the ends of an interval
    seed: Seed
    min_blocks: Annotated[int, msgspec.Meta(ge=2)]  # days, or rows that have no time; fewer show nothing


class Slices(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """G06. No slice's mean loss may be shown to exceed the rival's by more than `margin`."""

    margin: Annotated[float, msgspec.Meta(ge=0, le=1)]
    confidence: Annotated[float, msgspec.Meta(gt=0.5, lt=1)]  # of all slices together
    resamples: Annotated[int, msgspec.Meta(ge=1000)]  # the confidence of one slice lies far out
    seed: Seed
    min_rows: Annotated[int, msgspec.Meta(ge=2)]
    min_blocks: Annotated[int, msgspec.Meta(ge=2)]  # days, or rows that have no time


class NoLeak(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """G08. What one feature may tell alone; of features that differ from what was known none is allowed."""

    max_single_auc: Annotated[float, msgspec.Meta(gt=0.5, lt=1)]  # ROC AUC; a copy of the target has 1
    min_rows: Annotated[int, msgspec.Meta(ge=1)]  # held-out examples to be made again


class Reproducible(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """G14. There is nothing to loosen: the second training gives the same bytes or fails."""

    graph: Literal["same bytes"]


class Parity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """G09. The largest allowed difference of a score; labels must never differ."""

    max_difference: Annotated[float, msgspec.Meta(ge=0, le=0.01)]


class Speed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """G10. The most time the graph may take, as a ratio to the reference graph's in the same run."""

    one_row: Annotated[float, msgspec.Meta(gt=0, le=1000)]
    batch: Annotated[float, msgspec.Meta(gt=0, le=1000)]


class Size(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """G11. In units of 1024 * 1024 bytes."""

    bundle_mib: Annotated[float, msgspec.Meta(gt=0, le=1024)]  # all files of the bundle
    memory_mib: Annotated[float, msgspec.Meta(gt=0, le=65536)]  # what a server takes to hold and run it


class Schema(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """G12. Names that must never be an input, because they are known only later."""

    forbidden: tuple[Name, ...]


class Calibrated(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """G07. Expected calibration error in probability; the calibration slope is 1 where all is right."""

    max_calibration_error: Annotated[float, msgspec.Meta(gt=0, lt=0.5)]
    min_slope: Annotated[float, msgspec.Meta(gt=0, le=1)]  # below it the scores are too sure
    max_slope: Annotated[float, msgspec.Meta(ge=1, le=10)]  # above it they are too vague


class Behaves(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """G13. Amounts are in the unit of the scores."""

    rounding: Annotated[float, msgspec.Meta(ge=0, le=0.01)]  # identical answers may differ by as much
    tolerance: Annotated[float, msgspec.Meta(ge=0, le=0.1)]  # similar ones, and a step the wrong way
    min_share: Annotated[float, msgspec.Meta(gt=0.5, le=1)]  # of the changed rows; half is a coin's
    min_rows: Annotated[int, msgspec.Meta(ge=1)]  # that a behaviour has to be shown on


class Fresh(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """G15. Uses are different bundles that were judged on the same held-out rows."""

    max_twins: Annotated[float, msgspec.Meta(ge=0, lt=1)]  # share of held-out rows equal to a fitted one
    warn_after: Annotated[int, msgspec.Meta(ge=1)]  # uses
    max_uses: Annotated[int, msgspec.Meta(ge=1)]

    def __post_init__(self) -> None:
        """Refuse a warning that never comes.

        Raises:
            ValueError: it would come after the last use.
        """
        if self.warn_after > self.max_uses:
            raise ValueError(f"warn_after {self.warn_after} is above max_uses {self.max_uses}")


class Fair(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """G16. A group's mean score may be off by `margin` beside all others; only what is shown counts."""

    margin: Annotated[float, msgspec.Meta(ge=0, lt=1)]
    confidence: Annotated[float, msgspec.Meta(gt=0.5, lt=1)]  # of all comparisons together
    resamples: Annotated[int, msgspec.Meta(ge=1000)]  # shared out, the tails are far out
    seed: Seed
    min_rows: Annotated[int, msgspec.Meta(ge=1)]  # a group with fewer is named and not judged
    min_blocks: Annotated[int, msgspec.Meta(ge=2)]  # days, or rows that have no time


class GatePolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Thresholds by gate code, and the gates that may be `not applicable` for this model."""

    G01: Convergence
    G02: Overfit
    G03: Annotated[tuple[Bound, ...], msgspec.Meta(min_length=1)]
    G04: Beats
    G05: NotWorse
    G06: Slices
    G07: Calibrated
    G08: NoLeak
    G09: Parity
    G10: Speed
    G11: Size
    G12: Schema
    G13: Behaves
    G14: Reproducible
    G15: Fresh
    G16: Fair
    may_not_apply: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse an exemption of a gate that does not exist.

        Raises:
            ValueError: `may_not_apply` names an unknown code.
        """
        for code in self.may_not_apply:
            if code not in CODES:
                hint = near_miss(code, list(CODES))
                raise ValueError(f"may_not_apply names the unknown gate '{code}'{hint}")


# Every gate that a policy declares.
CODES = tuple(name for name in GatePolicy.__struct_fields__ if name != "may_not_apply")
