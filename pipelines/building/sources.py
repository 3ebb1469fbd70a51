"""Source tables out of an installed distribution: data with a version, and no download at run time."""

import io
import zipfile
from importlib import metadata
from pathlib import Path

import polars as pl

from contract.errors import ConfigError
from pipelines.building.config import IngestParams


def read_sources(params: IngestParams) -> dict[str, pl.DataFrame]:
    """Every source table as published: one data frame a file.

    Raises:
        ConfigError: the distribution is not installed, has another version, or lacks a file.
    """
    try:
        installed = metadata.distribution(params.distribution)
    except metadata.PackageNotFoundError:
        raise _missing(params, "is not installed") from None
    if installed.version != params.version:
        raise _missing(params, f"is installed as {installed.version}")
    located = {str(file): Path(str(file.locate())) for file in installed.files or ()}
    tables = {}
    for name, file in sorted(params.files.items()):
        path = located.get(file)
        if path is None or not path.is_file():
            raise _missing(params, f"holds no {file}")
        tables[name] = _read_csv(path)
    return tables


def _read_csv(path: Path) -> pl.DataFrame:
    data = path.read_bytes()
    if path.suffix == ".zip":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            data = archive.read(archive.namelist()[0])
    # Airport names are Latin-1 in places; none of them is used.
    return pl.read_csv(data, null_values=["NA", ""], infer_schema_length=None, encoding="utf8-lossy")


def _missing(params: IngestParams, found: str) -> ConfigError:
    return ConfigError(
        f"the distribution {params.distribution} {found}",
        f"version {params.version} with the files that params.yaml names",
        "Run: make setup, or correct the ingest section of params.yaml",
    )
