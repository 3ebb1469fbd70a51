"""train: training and validation rows -> the fitted pipeline and the ONNX graph that ships."""

import hashlib
import platform
import time
from importlib import metadata

import msgspec
import polars as pl

from contract.errors import FlightlineError
from contract.schema import Contract
from pipelines.building.artifacts import Artifacts, Duration, duration_file, read_table, write_json
from pipelines.building.config import params
from pipelines.building.stage import fresh, stage_main
from pipelines.cli import command
from training import model as models
from training.export import to_onnx

SHARED = ("numpy", "onnxruntime", "msgspec")  # libraries that serving has, too
TRAINED_WITH = ("scikit-learn", "skl2onnx", "onnx", "ibis-framework", "duckdb", "polars")


class Versions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What this stage ran with, whatever runs the stages after it."""

    python: str
    libraries: dict[str, str]
    trained_with: dict[str, str]


def train(name: str) -> str:
    """Write `model/{model.onnx,fitted.joblib,simple.joblib}`, `curve.json` and `versions.json`.

    The joblib files stay in training: evaluation compares the graph with them. Serving never unpickles.
    How long it took is noted for whoever tracks the run (M6).
    """
    import joblib  # the stages after this one import this module, and train nothing

    began = time.perf_counter()
    model, wanted, artifacts = models.load(name), params(name), Artifacts.of(name)
    rows = read_table(artifacts.split / "train.parquet")
    require_values(rows, model.contract)
    validation = read_table(artifacts.split / "validation.parquet")
    fitted = model.fit(model.contract, rows, validation, wanted.train, wanted.seed)
    folder = fresh(artifacts.model)
    joblib.dump(fitted.pipeline, folder / "fitted.joblib")
    joblib.dump(model.simple(rows, wanted.seed).pipeline, folder / "simple.joblib")
    graph = to_onnx(fitted.pipeline, model.contract)
    (folder / "model.onnx").write_bytes(graph)
    write_json(artifacts.curve, fitted.curve)
    versions = Versions(
        python=platform.python_version(),
        libraries={library: metadata.version(library) for library in SHARED},
        trained_with={library: metadata.version(library) for library in TRAINED_WITH},
    )
    write_json(artifacts.versions, versions)
    took = Duration(graph=hashlib.sha256(graph).hexdigest(), seconds=time.perf_counter() - began)
    write_json(duration_file(name), took)
    rounds = f"{len(fitted.curve.train) - 1} iterations, " if fitted.curve.train else ""
    return f"{rows.height:,} rows, {rounds}graph of {len(graph) / 1024:.0f} KiB"


def require_values(rows: pl.DataFrame, contract: Contract) -> None:
    """Refuse training rows from which a feature is absent altogether: its feed fell silent.

    Raises:
        FlightlineError: no row has a value of a feature.
    """
    numbers = {feature.name for feature in contract.numbers}
    empty = [
        feature.name
        for feature in contract.features
        if (rows[feature.name].fill_nan(None) if feature.name in numbers else rows[feature.name])
        .is_null()
        .all()
    ]
    if empty:
        raise FlightlineError(
            f"no training row of {contract.model} has a value of {', '.join(empty)}",
            "some values of each feature",
            "Look for the feed that fell silent, or take the feature out of the contract",
        )


main = stage_main("train", __doc__ or "", train)

if __name__ == "__main__":
    command(main)
