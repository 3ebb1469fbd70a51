"""The typed form of a model's `gates` section in policy.yaml."""

import msgspec


class Convergence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """G01. Shares are of the loss at the first iteration; losses in the curve's own unit."""

    min_fall: float  # share by which the validation loss must fall from first to best
    max_rise: float  # how far the validation loss may end above its best
    max_gap: float  # how far the validation loss may end above the training loss


class Bound(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of G03: a metric of the held-out period with the least or the most it may be."""

    metric: str
    min: float | None = None
    max: float | None = None


class Beats(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """G04. By how much `metric` must be better than each of the two rivals, in its own unit."""

    metric: str
    over_baseline: float
    over_simple: float


class NotWorse(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """G05. Mean loss per row may exceed the champion's by less than `margin` at `confidence`."""

    margin: float
    confidence: float
    resamples: int
    seed: int


class Parity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """G09. The largest allowed difference of a score; labels must never differ."""

    max_difference: float


class Schema(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """G12. Names that must never be an input, because they are known only later."""

    forbidden: tuple[str, ...]


class GatePolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Thresholds by gate code, and the gates that may be `not applicable` for this model."""

    G01: Convergence
    G03: tuple[Bound, ...]
    G04: Beats
    G05: NotWorse
    G09: Parity
    G12: Schema
    may_not_apply: tuple[str, ...] = ()
