"""train: training and validation rows -> the fitted pipeline and the ONNX graph that ships."""

import joblib

from pipelines.building.artifacts import Artifacts, read_table, write_json
from pipelines.building.config import params
from pipelines.building.stage import fresh, stage_main
from pipelines.cli import command
from training import model as models
from training.export import to_onnx


def train(name: str) -> str:
    """Write `model/{model.onnx,fitted.joblib,simple.joblib}` and `curve.json`.

    The joblib files stay in training: evaluation compares the graph with them. Serving never unpickles.
    """
    model, wanted, artifacts = models.load(name), params(name), Artifacts.of(name)
    rows = read_table(artifacts.split / "train.parquet")
    fitted = model.fit(rows, read_table(artifacts.split / "validation.parquet"), wanted.train, wanted.seed)
    folder = fresh(artifacts.model)
    joblib.dump(fitted.pipeline, folder / "fitted.joblib")
    joblib.dump(model.simple(rows, wanted.seed).pipeline, folder / "simple.joblib")
    graph = to_onnx(fitted.pipeline, model.contract)
    (folder / "model.onnx").write_bytes(graph)
    write_json(artifacts.curve, fitted.curve)
    rounds = f"{len(fitted.curve.train) - 1} iterations, " if fitted.curve.train else ""
    return f"{rows.height:,} rows, {rounds}graph of {len(graph) / 1024:.0f} KiB"


main = stage_main("train", __doc__ or "", train)

if __name__ == "__main__":
    command(main)
