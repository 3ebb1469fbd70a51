"""What each group of features adds: the held-out loss of a model trained without it, beside the full model's.

Both are trained on the same sample of the training rows, a fixed number evenly spaced in their order, so that
the cost does not grow with the data; their losses are therefore above those of the model that ships.
"""

import msgspec
import numpy as np
import polars as pl

from contract.errors import ConfigError
from contract.schema import Contract
from training.evaluation import blocks, loss_name, losses
from training.intervals import Interval, paired_bootstrap
from training.learning import limited, scores_of, target
from training.model import Model

CONFIDENCE = 0.975  # of each bound: a 95 % interval
RESAMPLES = 1000


class Gain(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one group adds: the loss without it less the loss with it, in the loss's own unit."""

    gain: float
    lower: float
    upper: float


class Ablation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What each group of features adds to a model trained on `rows` rows; no group where none is declared."""

    metric: str
    rows: int
    full: float = float("nan")  # the loss with every group
    blocks: int = 0  # days, or rows that have no time
    groups: dict[str, Gain] = {}


def ablate(
    model: Model,
    train: pl.DataFrame,
    validation: pl.DataFrame,
    test: pl.DataFrame,
    *,
    params: object,
    seed: int,
    rows: int,
    by_day: bool,
) -> Ablation:
    """Train without each group of `model.feature_groups` in turn, on `rows` of the rows of `train`.

    Args:
        model: its contract, its `fit` and its feature groups.
        train: examples, of which a sample is used.
        validation: examples for early stopping, all of them.
        test: the held-out examples, all of them.
        params: the model's own hyperparameters.
        seed: of the learner and of the bootstrap.
        rows: the size of the sample; all where there are fewer.
        by_day: rows of one day are one block of the bootstrap; else each row is.

    Raises:
        ConfigError: a feature is in no group or in two, or a group names none that the contract has.
    """
    sample = evenly(train, rows)
    metric = loss_name(model.contract)
    if not model.feature_groups:
        return Ablation(metric, sample.height)
    require_partition(model)

    def loss(contract: Contract) -> np.ndarray:
        pipeline = model.fit(contract, sample, validation, params, seed).pipeline
        return losses(target(test), scores_of(pipeline, contract, test), contract)

    days = blocks(test, by_day=by_day)
    # One thread: on so few rows a second one waits more than it works.
    with limited(1):
        full = loss(model.contract)
        found: dict[str, Interval] = {
            group: paired_bootstrap(
                loss(without(model.contract, names)) - full, days, CONFIDENCE, RESAMPLES, seed
            )
            for group, names in model.feature_groups.items()
        }
    return Ablation(
        metric=metric,
        rows=sample.height,
        full=float(full.mean()),
        blocks=len(np.unique(days)),
        groups={group: Gain(item.mean, item.lower, item.upper) for group, item in found.items()},
    )


def evenly(rows: pl.DataFrame, count: int) -> pl.DataFrame:
    """`count` of `rows`, evenly spaced in their order and the first and last among them; all if fewer."""
    if rows.height <= count:
        return rows
    return rows[np.linspace(0, rows.height - 1, count).round().astype(np.int64)]


def without(contract: Contract, names: tuple[str, ...]) -> Contract:
    """`contract` less the features `names`.

    Raises:
        ConfigError: no feature is left.
    """
    left = tuple(feature for feature in contract.features if feature.name not in names)
    return msgspec.structs.replace(contract, features=left)


def require_partition(model: Model) -> None:
    """Every feature is in exactly one group.

    Raises:
        ConfigError: one is in none or in several, or a group names what is no feature.
    """
    placed = [name for names in model.feature_groups.values() for name in names]
    features = [feature.name for feature in model.contract.features]
    problems = [
        *(f"'{name}' is in no group" for name in features if name not in placed),
        *(f"'{name}' is in {placed.count(name)} groups" for name in features if placed.count(name) > 1),
        *(f"'{name}' is no feature" for name in dict.fromkeys(placed) if name not in features),
    ]
    if problems:
        raise ConfigError(
            f"the feature groups of '{model.contract.model}' do not fit its contract ({'; '.join(problems)})",
            "each feature in exactly one group",
            f"Correct feature_groups in training/models/{model.contract.model}.py",
        )
