"""ingest: source files -> raw tables, append-only, with nothing that was known only after `as_of`."""

from pathlib import Path

import polars as pl

from contract.errors import ConfigError
from pipelines.building.artifacts import Artifacts, write_table
from pipelines.building.config import params
from pipelines.building.sources import read_sources
from pipelines.building.stage import fresh, stage_main
from pipelines.cli import command
from training import model as models


def ingest(name: str) -> str:
    """Write `raw/TABLE/YYYY-MM.parquet` by the month in which rows became known, `raw/TABLE.parquet` else."""
    model, wanted = models.load(name), params(name)
    tables = model.known(model.arrange(read_sources(wanted.ingest)), wanted.as_of)
    empty = [table for table, rows in tables.items() if rows.is_empty()]
    if empty:
        raise ConfigError(
            f"no row of {', '.join(empty)} was known by {wanted.as_of:%Y-%m-%d}",
            "at least one row of every table",
            f"Choose a later as_of for {name} in params.yaml",
        )
    raw = fresh(Artifacts.of(name).raw)
    for table, rows in tables.items():
        _write(raw, table, rows, model.known_at.get(table))
    counts = ", ".join(f"{rows.height:,} {table}" for table, rows in tables.items())
    return f"{counts} known by {wanted.as_of:%Y-%m-%d}"


def _write(raw: Path, table: str, rows: pl.DataFrame, known_at: str | None) -> None:
    if known_at is None:
        write_table(raw / f"{table}.parquet", rows)
        return
    months = rows.with_columns(pl.col(known_at).dt.strftime("%Y-%m").alias("month"))
    for (month,), part in months.partition_by("month", as_dict=True, maintain_order=True).items():
        write_table(raw / table / f"{month}.parquet", part.drop("month"))


main = stage_main("ingest", __doc__ or "", ingest)

if __name__ == "__main__":
    command(main)
