"""LitServe and onnxruntime: `python serve.py BUNDLE PORT`."""

import json
import sys
from pathlib import Path
from typing import Any

import litserve
import numpy as np
import onnxruntime


class Api(litserve.LitAPI):
    """One row in, a class and its scores out."""

    def __init__(self, bundle: Path) -> None:
        """Remember where the graph is; it is loaded in the worker."""
        super().__init__()
        self.bundle = bundle

    def setup(self, device: str) -> None:
        """Load the graph; `device` is the CPU."""
        contract = json.loads((self.bundle / "contract.json").read_bytes())
        self.classes = contract["classes"]
        self.numbers = [feature["name"] for feature in contract["features"] if feature["kind"] == "number"]
        self.words = [feature["name"] for feature in contract["features"] if feature["kind"] == "category"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(self.bundle / "model.onnx", options)

    def decode_request(self, request: dict[str, Any]) -> dict[str, Any]:
        """The graph's inputs."""
        row, feed = request["row"], {}
        if self.numbers:
            values = [row[name] for name in self.numbers]
            feed["numbers"] = np.array([[np.nan if value is None else value for value in values]], np.float32)
        if self.words:
            feed["categories"] = np.array([[row[name] or "" for name in self.words]], object)
        return feed

    def predict(self, feed: dict[str, Any]) -> Any:
        """Labels and scores."""
        return self.session.run(("label", "scores"), feed)

    def encode_response(self, output: Any) -> dict[str, Any]:
        """The answer."""
        label, scores = output
        return {
            "prediction": self.classes[int(label[0])],
            "scores": dict(zip(self.classes, scores[0].tolist(), strict=True)),
        }


if __name__ == "__main__":
    server = litserve.LitServer(Api(Path(sys.argv[1])), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False, log_level="warning")
