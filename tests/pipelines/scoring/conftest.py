"""A model to score with, and tables for it."""

import numpy as np
import polars as pl
import pytest

from serving.models.predictor import Predictor
from tests.conftest import make_release


def rows(count, start=0):
    """`count` different rows with ids, in and out of the lenient range, with and without values."""
    numbers = np.arange(start, start + count)
    return pl.DataFrame(
        {
            "id": [f"flight/{number}" for number in numbers],
            "width": (numbers % 100) / 10,
            "height": pl.Series(
                [None if number % 7 == 0 else number % 13 - 6 for number in numbers], dtype=pl.Int64
            ),
            "letter": [("A", "B", "?", None)[number % 4] for number in numbers],
        }
    )


def load(release):
    """The model of a release."""
    return Predictor.load(release.path, release.digest, "7", release.trust)


@pytest.fixture(scope="session")
def release(tmp_path_factory):
    """A release of the toy model."""
    return make_release(tmp_path_factory.mktemp("release") / "0")


@pytest.fixture(scope="session")
def predictor(release):
    """Its model."""
    return load(release)


@pytest.fixture
def source(tmp_path):
    """Two files, one in a folder of its own."""
    (tmp_path / "in" / "deep").mkdir(parents=True)
    rows(100).write_parquet(tmp_path / "in" / "a.parquet")
    rows(50, start=100).write_parquet(tmp_path / "in" / "deep" / "b.parquet")
    return tmp_path / "in"
