"""Rows that G09 compares beside the held-out ones: where float32 and float64 may decide differently."""

from typing import Any

import numpy as np
import polars as pl

from contract.schema import Contract
from training.model import columns

PLACES = 1700  # of three rows each: about five thousand, a moment's work for scikit-learn and for the graph
SEED = 9


def beside_thresholds(pipeline: Any, contract: Contract, rows: pl.DataFrame) -> pl.DataFrame:
    """Held-out rows of which one number is moved by one float32 step.

    Where the pipeline is boosted trees over the contract's numbers as they are: to a tree's threshold as
    float32, one step below it and one above. Each distinct threshold gets a row until `PLACES` are used up;
    which ones and which rows is drawn by `SEED`. Other learners have no thresholds: there the row's own
    number is moved.

    Returns:
        Rows like `rows`, three in a row for each place; the moved number is float64 with a float32's value.
    """
    random = np.random.default_rng(SEED)
    places = thresholds(pipeline, contract, rows)
    names = [feature.name for feature in contract.numbers]
    if places:
        drawn = [places[index] for index in random.permutation(len(places))]
        moved = [drawn[index % len(drawn)] for index in range(PLACES)]
        lines = random.integers(0, rows.height, PLACES)
        features = np.array([feature for feature, _ in moved])
        values = np.array([value for _, value in moved]).astype(np.float32)
    else:
        lines = np.repeat(np.arange(rows.height), len(names))[:PLACES]
        features = np.tile(np.arange(len(names)), rows.height)[:PLACES]
        table = columns(rows, contract)[:, : len(names)].to_numpy()
        values = table[lines, features].astype(np.float32)
    steps = np.stack(
        [np.nextafter(values, np.float32(-np.inf)), values, np.nextafter(values, np.float32(np.inf))], axis=1
    )
    return _put(rows[np.repeat(lines, 3)], names, np.repeat(features, 3), steps.reshape(-1))


def thresholds(pipeline: Any, contract: Contract, rows: pl.DataFrame) -> list[tuple[int, float]]:
    """(index among the contract's numbers, float64 threshold): each once, in order.

    Empty where the last step is no boosted trees, or where what comes before it changes the numbers: a
    threshold is then on another scale.
    """
    steps = [step for _, step in getattr(pipeline, "steps", [("", pipeline)])]
    trees = getattr(steps[-1], "_predictors", None)
    if trees is None:
        return []
    width = len(contract.numbers)
    given = columns(rows.head(100), contract)
    if len(steps) > 1:
        plain = given[:, :width].to_numpy().astype(np.float64)
        # As in evaluation: fitted on a table, asked with a table.
        asked = given if hasattr(pipeline, "feature_names_in_") else given.to_numpy()
        seen = np.asarray(pipeline[:-1].transform(asked), dtype=np.float64)[:, :width]
        if not np.array_equal(plain, seen, equal_nan=True):
            return []
    nodes = np.concatenate([predictor.nodes for round_ in trees for predictor in round_])
    inner = nodes[(nodes["is_leaf"] == 0) & (nodes["feature_idx"] < width)]
    # An infinite threshold parts missing values from all others; nothing lies beside it.
    inner = inner[np.isfinite(inner["num_threshold"])]
    pairs = zip(inner["feature_idx"].tolist(), inner["num_threshold"].tolist(), strict=True)
    return sorted({(int(feature), float(value)) for feature, value in pairs})


def _put(rows: pl.DataFrame, names: list[str], features: np.ndarray, values: np.ndarray) -> pl.DataFrame:
    number = pl.Series("value", values.astype(np.float64))
    chosen = pl.Series("feature", features)
    wide = rows.with_columns(number, chosen)
    return wide.with_columns(
        pl.when(pl.col("feature") == index).then(pl.col("value")).otherwise(pl.col(name)).alias(name)
        for index, name in enumerate(names)
    ).drop("value", "feature")
