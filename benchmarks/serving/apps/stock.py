"""Stock BentoML: `@bentoml.api` with pydantic models of the contract, and defaults for all else."""

import os
from pathlib import Path
from typing import Any

import bentoml
import numpy as np
import onnxruntime
from pydantic import BaseModel, create_model

from contract.bundle import open_bundle


class Answer(BaseModel):
    """The class and its scores."""

    prediction: str
    scores: dict[str, float]


def _type(kind: str, nullable: bool) -> Any:
    plain: Any = float if kind == "number" else str
    return (plain | None, ...) if nullable else (plain, ...)


def __getattr__(name: str) -> Any:
    """`Stock`, made when it is asked for: its types are those of the contract that it serves."""
    if name != "Stock":
        raise AttributeError(name)
    bundle = open_bundle(Path(os.environ["FLIGHTLINE_BENCH_BUNDLE"]))
    contract = bundle.contract
    fields: dict[str, Any] = {
        feature.name: _type(feature.kind, feature.nullable) for feature in contract.features
    }
    row_type: Any = create_model("Row", **fields)

    class Stock:
        """One model behind one route."""

        def __init__(self) -> None:
            self.session = onnxruntime.InferenceSession(bundle.read("model.onnx"))

        def predict(self, row: row_type) -> Answer:
            """One prediction."""
            numbers = [[getattr(row, feature.name) for feature in contract.numbers]]
            feed: dict[str, Any] = {"numbers": np.array(numbers, dtype=np.float32)}
            if contract.categories:
                words = [getattr(row, feature.name) or "" for feature in contract.categories]
                feed["categories"] = np.array([words], dtype=object)
            labels, scores = self.session.run(["label", "scores"], feed)
            classes = contract.classes
            return Answer(
                prediction=classes[labels[0]], scores=dict(zip(classes, scores[0].tolist(), strict=True))
            )

        predict = bentoml.api(predict)

    found = globals()["Stock"] = bentoml.service(Stock)
    return found
