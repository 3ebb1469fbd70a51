"""Where the DVC stages of one model leave what they make, and how it is read back."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import polars as pl

from contract.errors import FlightlineError
from contract.strict import convert, decode_json, encode_json

T = TypeVar("T")


@dataclass(frozen=True)
class Artifacts:
    """The files of one model below `artifacts/MODEL`."""

    root: Path

    @classmethod
    def of(cls, model: str, root: Path = Path("artifacts")) -> "Artifacts":
        """The artifacts of `model` below the current folder."""
        return cls(root / model)

    raw = property(lambda self: self.root / "raw")
    checked = property(lambda self: self.root / "checked")
    rejected = property(lambda self: self.root / "rejected")
    validation = property(lambda self: self.root / "validation.json")
    split = property(lambda self: self.root / "split")
    facts = property(lambda self: self.root / "split.json")
    leakage = property(lambda self: self.root / "leakage.json")
    model = property(lambda self: self.root / "model")
    curve = property(lambda self: self.root / "curve.json")
    versions = property(lambda self: self.root / "versions.json")
    metrics = property(lambda self: self.root / "metrics.json")
    rivals = property(lambda self: self.root / "rivals.json")
    predictions = property(lambda self: self.root / "predictions.parquet")
    near = property(lambda self: self.root / "near.parquet")
    probes = property(lambda self: self.root / "probes")
    evidence = property(lambda self: self.root / "evidence.json")
    ablation = property(lambda self: self.root / "ablation.json")
    report = property(lambda self: self.root / "report")
    bundle = property(lambda self: self.root / "bundle")


class Duration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long the training of a graph took: known where it was trained, not where it came from a cache."""

    graph: str  # sha256
    seconds: float


def duration_file(model: str, checkout: Path = Path()) -> Path:
    """Where the last training in `checkout` noted it: never the same twice, and so no output of a stage."""
    return checkout / "var" / "training" / f"{model}.json"


def existing(path: Path) -> Path:
    """`path`, once it is found to exist.

    Raises:
        FlightlineError: an earlier stage has not made it.
    """
    if not path.exists():
        raise FlightlineError(
            f"{path} is missing", "the output of an earlier stage", "Run: make repro (or dvc repro)"
        )
    return path


def read_table(path: Path) -> pl.DataFrame:
    """A Parquet file as a table.

    Raises:
        FlightlineError: the file is missing.
    """
    return pl.read_parquet(existing(path))


def read_tables(folder: Path) -> dict[str, pl.DataFrame]:
    """The tables of a folder: `NAME.parquet`, or `NAME/PERIOD.parquet` in the order of periods."""
    tables = {}
    for item in sorted(existing(folder).iterdir()):
        if item.is_dir():
            tables[item.name] = pl.concat(pl.read_parquet(part) for part in sorted(item.glob("*.parquet")))
        elif item.suffix == ".parquet":
            tables[item.stem] = pl.read_parquet(item)
    return tables


def read_json(path: Path, into: type[T]) -> T:
    """A JSON file as the struct type `into`.

    JSON has no NaN, so a loss or metric that is not finite is written as `null` and read as NaN: what broke
    must reach the gate that judges it.

    Raises:
        FlightlineError: the file is missing or not of the type.
    """
    plain = decode_json(existing(path).read_bytes(), Any, str(path))
    return convert(_null_to_nan(plain), into, str(path), finite=False)


def write_json(path: Path, value: object) -> None:
    """Canonical JSON, so that equal values are equal files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_json(value))


def write_table(path: Path, table: pl.DataFrame) -> None:
    """A Parquet file; equal tables are equal files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table.write_parquet(path, compression="zstd", compression_level=3)


def sha256(*paths: Path) -> str:
    """One hash over the bytes of several files in the order given."""
    total = hashlib.sha256()
    for path in paths:
        total.update(hashlib.sha256(existing(path).read_bytes()).digest())
    return total.hexdigest()


def _null_to_nan(plain: object) -> object:
    if isinstance(plain, dict):
        return {key: _null_to_nan(value) for key, value in plain.items()}
    if isinstance(plain, list):
        return [_null_to_nan(value) for value in plain]
    return float("nan") if plain is None else plain
