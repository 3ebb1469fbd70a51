"""What `mlflow models serve` runs, over onnxruntime: `python serve.py BUNDLE PORT`."""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import onnxruntime
import pandas as pd


class Graph(mlflow.pyfunc.PythonModel):  # MLflow's own ONNX flavour fails on mixed columns with this pandas
    """A data frame in, classes and scores out."""

    def load_context(self, context: Any) -> None:
        """Load the graph."""
        bundle = Path(context.artifacts["bundle"])
        contract = json.loads((bundle / "contract.json").read_bytes())
        self.classes = contract["classes"]
        self.numbers = [feature["name"] for feature in contract["features"] if feature["kind"] == "number"]
        self.words = [feature["name"] for feature in contract["features"] if feature["kind"] == "category"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(bundle / "model.onnx", options)

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> list[dict[str, Any]]:
        """One object a row."""
        feed: dict[str, Any] = {}
        if self.numbers:
            feed["numbers"] = model_input[self.numbers].to_numpy(np.float32)
        if self.words:
            feed["categories"] = model_input[self.words].fillna("").to_numpy(object)
        labels, scores = self.session.run(("label", "scores"), feed)
        return [
            {"prediction": self.classes[int(label)], "scores": dict(zip(self.classes, row, strict=True))}
            for label, row in zip(labels, scores.tolist(), strict=True)
        ]


if __name__ == "__main__":
    bundle, port = Path(sys.argv[1]).absolute(), sys.argv[2]
    path = Path(tempfile.mkdtemp(prefix="peer-")) / "model"
    mlflow.pyfunc.save_model(
        path, python_model=Graph(), artifacts={"bundle": str(bundle)}, pip_requirements=[]
    )
    command = ["models", "serve", "-m", str(path), "-h", "127.0.0.1", "-p", port, "-w", "1"]
    os.environ["PATH"] = (
        f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # it starts `uvicorn`
    )
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", *command, "--env-manager", "local"])
