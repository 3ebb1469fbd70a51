"""Folders of tables, scored."""

import polars as pl

from pipelines.scoring.batches import Order, score_all
from pipelines.scoring.inputs import find_inputs
from tests.pipelines.scoring.conftest import rows


def silent(_):
    """Say nothing."""


def score(predictor, source, output, **changes):
    """Score a folder, a file or a glob."""
    order = Order(output, changes.pop("rejects", None), "id", 2)
    return list(score_all(find_inputs(str(source)), order, predictor, silent))


def bad(source):
    """The first file again, with two rows that the contract refuses."""
    table = rows(100).with_columns(
        pl.when(pl.col("id").is_in(["flight/40", "flight/90"]))
        .then(99.0)
        .otherwise(pl.col("width"))
        .alias("width")
    )
    table.write_parquet(source / "a.parquet")
