"""What a model declares: the interface between the pipeline and `training/models/NAME`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import msgspec
import polars as pl

from contract.errors import ConfigError
from contract.schema import Contract, Feature
from contract.strict import near_miss
from training.validation import Rule

# Columns of an example table beside the features.
ID, AT, LABEL, LABEL_AT = "id", "at", "label", "label_at"
KEYS = (ID, AT, LABEL, LABEL_AT)

Tables = Mapping[str, pl.DataFrame]


@dataclass(frozen=True)
class Curve:
    """Loss per iteration on the training and validation rows; empty for a learner without iterations."""

    metric: str
    train: tuple[float, ...] = ()
    validation: tuple[float, ...] = ()


@dataclass(frozen=True)
class Fitted:
    """A fitted scikit-learn pipeline, preprocessing included, and how its loss went."""

    pipeline: Any  # a scikit-learn estimator over the contract's columns: numbers first, then categories
    curve: Curve


@dataclass(frozen=True)
class Slice:
    """Rows that must not do badly while the whole does well, such as one airport or the evening."""

    name: str
    rows: pl.Expr  # true for the examples in the slice


@dataclass(frozen=True)
class Behaviour:
    """What a sound model does when inputs change: an invariance or a direction.

    `expected` is of the last class's score after the change: `identical` but for rounding on every row,
    `similar`, `not lower` or `not higher` on most of them, as policy.yaml says.
    """

    name: str
    reason: str
    change: tuple[pl.Expr, ...]  # applied to an example's features with `with_columns`
    expected: Literal["identical", "similar", "not lower", "not higher"]
    instead_of: tuple[pl.Expr, ...] = ()  # another change to compare with; none: the rows as they are
    rows: pl.Expr = field(default_factory=lambda: pl.lit(value=True))  # those that can be changed so


@dataclass(frozen=True)
class Card:
    """What only the author can say of a model; the rest of its card is written from facts.

    `license` is the model's, an identifier of https://hf.co/docs/hub/repositories-licenses; `dataset` names
    the data, and `dataset_license` says in words what may be done with them. The texts are Markdown.
    """

    summary: str
    intended_use: str
    out_of_scope: str
    training_data: str
    limitations: str
    dataset: str
    dataset_license: str
    license: str = "apache-2.0"
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)  # there is one of each model: it is equal to itself, and may be a key
class Model:
    """Everything the pipeline needs to know about one model. All functions are pure.

    Attributes:
        contract: the inputs and outputs.
        known_at: for each raw table with a time, the column that says when a row became known.
        arrange: source tables as published -> raw tables (append-only, one row a fact).
        rules: what a sound row is, by raw table.
        rows: sound raw tables -> one row an example: `KEYS`, the features that are not aggregates, and the
            keys that aggregates are taken by. `label` indexes the contract's classes, null while unknown.
        events: sound raw tables -> the streams of events that the contract's aggregates name.
        records: sound raw tables -> the tables that the contract's look-ups name, one row a record.
        params: the type of the model's `train` section in params.yaml.
        fit: contract, training rows, validation rows, parameters, seed -> the fitted pipeline. The contract
            is the model's own or has fewer features: what a group adds is measured by leaving it out.
        simple: the same for the simple model that the gates compare with.
        slices: important parts of the held-out rows, judged one by one.
        fair_by: category features whose values name the groups that must be treated alike.
        behaviours: invariances and directions that a sound model shows.
        feature_groups: group -> its features; what each group adds is measured by training without it.
        requests: raw tables of which a caller sends the example's own row, so that this row is known at the
            moment of prediction whatever `known_at` says of it.
        card: what only the author can say of the model.
    """

    contract: Contract
    arrange: Callable[[Tables], dict[str, pl.DataFrame]]
    rows: Callable[[Tables], pl.DataFrame]
    params: type[msgspec.Struct]
    fit: Callable[[Contract, pl.DataFrame, pl.DataFrame, Any, int], Fitted]
    simple: Callable[[pl.DataFrame, int], Fitted]
    events: Callable[[Tables], dict[str, pl.DataFrame]] = lambda _: {}
    records: Callable[[Tables], dict[str, pl.DataFrame]] = lambda _: {}
    known_at: Mapping[str, str] = field(default_factory=dict)
    rules: Mapping[str, tuple[Rule, ...]] = field(default_factory=dict)
    slices: tuple[Slice, ...] = ()
    fair_by: tuple[str, ...] = ()
    behaviours: tuple[Behaviour, ...] = ()
    feature_groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    requests: tuple[str, ...] = ()
    card: Card | None = None

    def known(self, tables: Tables, as_of: datetime) -> dict[str, pl.DataFrame]:
        """Only the rows that were known at the moment `as_of`: what a run at that moment could have read."""
        return {
            name: table.filter(pl.col(self.known_at[name]) <= as_of) if name in self.known_at else table
            for name, table in tables.items()
        }


def grouped(contract: Contract, group: Callable[[Feature], str]) -> dict[str, tuple[str, ...]]:
    """The features of `contract` by the group that `group` puts each in, in the order of declaration."""
    found: dict[str, tuple[str, ...]] = {}
    for feature in contract.features:
        name = group(feature)
        found[name] = (*found.get(name, ()), feature.name)
    return found


def names() -> list[str]:
    """The models of this repository: one folder each in `training/models/`."""
    folder = Path(__file__).parent / "models"
    return sorted(path.parent.name for path in folder.glob("*/__init__.py"))


def load(name: str) -> Model:
    """The model declared in `training/models/NAME`.

    Raises:
        ConfigError: there is no such model.
    """
    known = names()
    if name not in known:
        raise ConfigError(
            f"no model is called '{name}'{near_miss(name, known)}",
            f"one of {', '.join(known)}",
            f"Name one of them, or add training/models/{name}/__init__.py",
        )
    model = import_module(f"training.models.{name}").MODEL
    if not isinstance(model, Model):
        raise ConfigError(
            f"training/models/{name}/__init__.py holds no Model",
            "MODEL = Model(...)",
            "Declare it at the end",
        )
    return model


def columns(frame: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """The feature columns of `frame` in the graph's order: numbers as float32, then categories."""
    return frame.select(
        *(pl.col(feature.name).cast(pl.Float32) for feature in contract.numbers),
        *(pl.col(feature.name).fill_null("") for feature in contract.categories),
    )
