"""The declaration of a model's inputs and outputs, from which every side derives its checks."""

import hashlib
import math
from typing import Literal

import msgspec

from contract.errors import ConfigError
from contract.strict import encode_json

Source = Literal["request", "batch", "stream"]
Rule = Literal["refuse", "accept_and_count"]


class Aggregate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A feature that is computed from past events rather than sent by a caller.

    At the moment `t` of a prediction it is `statistic` of `value` over the events of stream `events` with the
    same `by` keys and event time in `(t - window_minutes, t]`; where `window_minutes` is 0, since the first
    event. An event's time is when it became known, so a source that publishes late is late here, too.

    Without events a count and a sum are 0, and a latest value is null; without values a mean is null.
    A value that is summed or averaged is an integer, so that totals are exact in every order.
    """

    events: str
    by: tuple[str, ...]
    statistic: Literal["mean", "count", "sum", "latest"]
    window_minutes: int  # 0: without an end
    value: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be computed.

        Raises:
            ConfigError: the window is negative, or a statistic lacks the value that it is of.
        """
        if self.window_minutes < 0:
            raise ConfigError(
                f"an aggregate of '{self.events}' has a window of {self.window_minutes} minutes",
                "minutes that lie back, or 0 for all since the first event",
                "Correct its declaration",
            )
        if self.statistic != "count" and not self.value:
            raise ConfigError(
                f"an aggregate of '{self.events}' is the {self.statistic} of nothing",
                "the name of a value of its events",
                "Name it as `value`",
            )

    @property
    def endless(self) -> bool:
        """Whether the window reaches back to the first event."""
        return self.window_minutes == 0


class Lookup(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A feature that is a value of a record that is looked up, as a plane's seats are by its tail number.

    Of the records `records` it is `value` of the one with the same `by` keys; null where there is none.
    """

    records: str
    by: tuple[str, ...]
    value: str


class Feature(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One input of a model: its name, type, range, categories and where it comes from.

    A `request` feature is what only the caller knows. A `batch` feature changes by the hour or the day: a
    record that is looked up, or an aggregate over days. A `stream` feature is the state of the last hours.

    Where a row comes without a batch or stream feature, it is read from the online store. What was last heard
    of its stream or its records more than `stale_after_minutes` before the row's moment is stale: the feature
    is then null where it may be, and else the row is refused. 0: it never goes stale.
    """

    name: str
    kind: Literal["number", "category"]
    description: str
    source: Source = "request"
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] = ()
    nullable: bool = False
    out_of_range: Rule = "refuse"
    unknown_category: Rule = "accept_and_count"
    aggregate: Aggregate | None = None
    lookup: Lookup | None = None
    stale_after_minutes: int = 0

    def __post_init__(self) -> None:
        """Refuse declarations that contradict themselves.

        Raises:
            ConfigError: the range is empty, or a kind has the attributes of the other.
        """
        for bound in ("minimum", "maximum"):
            value = getattr(self, bound)
            if value is not None:  # `0` and `0.0` are one bound, and must have one fingerprint
                msgspec.structs.force_setattr(self, bound, float(value))
        low, high = self.minimum, self.maximum
        if low is not None and high is not None and not low <= high:
            raise self._wrong(f"range [{low}, {high}]", "minimum <= maximum")
        if self.kind == "category" and (low is not None or high is not None):
            raise self._wrong("a category with a numeric range", "categories only")
        if self.kind == "number" and self.categories:
            raise self._wrong("a number with categories", "a range only")
        if self.aggregate is None and self.source == "stream":
            raise self._wrong("a stream feature without an aggregate", "an aggregate")
        if self.aggregate is not None and self.source == "request":
            raise self._wrong("an aggregate that the caller is to send", "source batch or stream")
        if self.lookup is not None and (self.source != "batch" or self.aggregate is not None):
            raise self._wrong("a look-up beside another origin", "source batch, and no aggregate")
        if self.stale_after_minutes < 0 or (self.stale_after_minutes and not self.stored):
            raise self._wrong(
                f"stale_after_minutes {self.stale_after_minutes}", "minutes of an age that it has"
            )

    def _wrong(self, found: str, expected: str) -> ConfigError:
        return ConfigError(f"feature '{self.name}' has {found}", expected, "Correct its declaration")

    @property
    def stored(self) -> bool:
        """Whether the online store has it, so that a row may come without it."""
        return self.aggregate is not None or self.lookup is not None

    @property
    def by(self) -> tuple[str, ...]:
        """The keys under which the online store has it; none where it has not."""
        origin = self.aggregate or self.lookup
        return () if origin is None else origin.by

    def in_range(self, value: float) -> bool:
        """Whether a finite `value` lies within [minimum, maximum]; an absent bound does not limit."""
        low = -math.inf if self.minimum is None else self.minimum
        high = math.inf if self.maximum is None else self.maximum
        return low <= value <= high


class Contract(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a model takes and answers.

    The model's graph takes `numbers` float32 (rows, numbers) and, where there are any, `categories`
    string (rows, categories), each in the order of declaration, and answers `label` int64 (rows,) as an
    index into `classes`, and `scores` float32 (rows, classes).
    """

    model: str
    features: tuple[Feature, ...]
    target: str
    classes: tuple[str, ...]
    scores: Literal["probability", "decision"]
    lead_minutes: int = 0  # how long before the event the prediction is made
    routes: tuple[str, ...] = ()  # extra routes the model claims, such as /predict/label

    def __post_init__(self) -> None:
        """Refuse a contract that cannot be served.

        Raises:
            ConfigError: a feature is declared twice, there is none, or fewer than two classes.
        """
        names = [feature.name for feature in self.features]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice or not names:
            raise ConfigError(
                f"contract '{self.model}' declares {'twice ' + ', '.join(twice) if twice else 'no feature'}",
                "each feature once, and at least one",
                "Correct the model's contract",
            )
        if len(set(self.classes)) != len(self.classes) or len(self.classes) <= 1:
            raise ConfigError(
                f"contract '{self.model}' has classes {list(self.classes)}",
                "two or more different classes",
                "Correct the model's contract",
            )

    @property
    def numbers(self) -> tuple[Feature, ...]:
        """The numeric features, in the column order of the graph's `numbers` input."""
        return tuple(feature for feature in self.features if feature.kind == "number")

    @property
    def categories(self) -> tuple[Feature, ...]:
        """The categorical features, in the column order of the graph's `categories` input."""
        return tuple(feature for feature in self.features if feature.kind == "category")

    @property
    def stored(self) -> tuple[Feature, ...]:
        """The features that the online store has, in the order of declaration."""
        return tuple(feature for feature in self.features if feature.stored)

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of stored features that are no features themselves: what a caller sends beside a row."""
        names = {feature.name for feature in self.features}
        return tuple(sorted({key for feature in self.features for key in feature.by} - names))

    @property
    def fingerprint(self) -> str:
        """sha256 of the canonical JSON: equal contracts, and only they, have equal fingerprints."""
        return hashlib.sha256(encode_json(self)).hexdigest()
