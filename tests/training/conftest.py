"""The real flights, read once a session, and a small fitted model."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from contract.schema import Contract, Feature
from pipelines.building.config import params
from pipelines.building.sources import read_sources
from tests.training.worlds import minute
from training.export import to_onnx
from training.learning import BoostedTrees, boosted_trees
from training.model import Fitted
from training.models import flights

ROOT = Path(__file__).parents[2]
TREES = BoostedTrees(
    learning_rate=0.2,
    max_leaf_nodes=15,
    min_samples_leaf=10,
    l2_regularization=0.0,
    max_iter=30,
    patience=10,
)
TOY = Contract(
    model="toy",
    features=(
        Feature(name="letter", kind="category", description="a category | of three", categories=("a", "b")),
        Feature(name="width", kind="number", description="a number", minimum=-5, maximum=5),
        Feature(name="height", kind="number", description="another number", unit="cm", nullable=True),
    ),
    target="is large",
    classes=("small", "large"),
    scores="probability",
)


def toy_rows(rows: int, seed: int) -> pl.DataFrame:
    """Random examples of `TOY`: a missing height now and then, and a label that follows from the rest."""
    random = np.random.default_rng(seed)
    letter = random.choice(["a", "b", "c"], rows)
    # Few different values: thresholds then lie halfway between two of them, where no float32 need be.
    width, height = random.normal(size=(2, rows)).round(1).astype(np.float32).astype(np.float64)
    chance = 1 / (1 + np.exp(-2 * width - height * (letter == "a")))
    return pl.DataFrame(
        {
            "id": [f"row{number:05d}" for number in range(rows)],
            "at": [minute(number) for number in range(rows)],
            "label": (random.random(rows) < chance).astype(np.int64),
            "letter": letter,
            "width": width,
            "height": [
                None if missing else value
                for value, missing in zip(height, random.random(rows) < 0.1, strict=True)
            ],
        }
    )


@dataclass(frozen=True)
class Toy:
    """A fitted pipeline, the rows it came from, and its graph."""

    contract: Contract
    train: pl.DataFrame
    validation: pl.DataFrame
    test: pl.DataFrame
    fitted: Fitted
    graph: bytes


@pytest.fixture(scope="session")
def toy() -> Toy:
    """Boosted trees on random examples."""
    train, validation, test = (toy_rows(rows, seed) for seed, rows in enumerate((1500, 300, 400)))
    fitted = boosted_trees(TOY, train, validation, TREES, 7)
    return Toy(TOY, train, validation, test, fitted, to_onnx(fitted.pipeline, TOY))


@pytest.fixture(scope="session")
def published() -> dict[str, pl.DataFrame]:
    """The source tables of flights as published."""
    return read_sources(params("flights", ROOT / "params.yaml").ingest)


@pytest.fixture(scope="session")
def arranged(published: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """The raw tables of the whole year."""
    return flights.arrange(published)


@pytest.fixture(scope="session")
def february(arranged: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """The raw tables from new year to the end of February: a week in the middle has a month behind it."""
    return flights.MODEL.known(arranged, datetime(2013, 3, 1, tzinfo=UTC))
