"""MLServer with a runtime of its own over onnxruntime: `python serve.py BUNDLE PORT [WORKERS]`.

Without WORKERS it is as `mlserver start` has it by default: one process for inference beside the one that
listens, metrics and access log. With 0 it answers in the process that listens, without metrics and log.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from mlserver import MLModel, MLServer
from mlserver.settings import ModelParameters, ModelSettings, Settings
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput


class Graph(MLModel):
    """The graph's two inputs as tensors of the Open Inference Protocol."""

    async def load(self) -> bool:
        """Load the graph."""
        bundle = Path(self.settings.parameters.uri)
        self.classes = json.loads((bundle / "contract.json").read_bytes())["classes"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(bundle / "model.onnx", options)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Labels and scores."""
        feed: dict[str, Any] = {}
        for tensor in payload.inputs:
            kind = np.float32 if tensor.datatype == "FP32" else object
            feed[tensor.name] = np.array(tensor.data.root, kind).reshape(tensor.shape)
        labels, scores = self.session.run(("label", "scores"), feed)
        return InferenceResponse(
            model_name=self.name,
            outputs=[
                ResponseOutput(
                    name="label",
                    shape=[len(labels)],
                    datatype="BYTES",
                    data=[self.classes[int(label)] for label in labels],
                ),
                ResponseOutput(
                    name="scores", shape=list(scores.shape), datatype="FP32", data=scores.ravel().tolist()
                ),
            ],
        )


async def serve(bundle: Path, port: int, *differences: str) -> None:
    """Serve until told to stop, with MLServer's own defaults but for WORKERS and what goes with them."""
    told: dict[str, Any] = {}
    if differences:
        told = {"parallel_workers": int(differences[0]), "metrics_endpoint": None, "debug": False}
    settings = Settings(host="127.0.0.1", http_port=port, grpc_port=port + 1, metrics_port=port + 2, **told)
    model = ModelSettings(name="model", implementation=Graph, parameters=ModelParameters(uri=str(bundle)))
    await MLServer(settings).start([model])


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]).absolute(), int(sys.argv[2]), *sys.argv[3:]))
