"""Stock BentoML: `@bentoml.api` with pydantic models of the contract, and defaults for all else."""

import os
from pathlib import Path
from typing import Any

import bentoml
import numpy as np
import onnxruntime
from pydantic import BaseModel, create_model

from contract.bundle import open_bundle

_BUNDLE = open_bundle(Path(os.environ["FLIGHTLINE_BENCH_BUNDLE"]))
_FEATURES = _BUNDLE.contract.features


def _type(kind: str, nullable: bool) -> Any:
    plain: Any = float if kind == "number" else str
    return (plain | None, ...) if nullable else (plain, ...)


_FIELDS: dict[str, Any] = {feature.name: _type(feature.kind, feature.nullable) for feature in _FEATURES}
Row = create_model("Row", **_FIELDS)


class Answer(BaseModel):
    """The class and its scores."""

    prediction: str
    scores: dict[str, float]


@bentoml.service
class Stock:
    """One model behind one route."""

    def __init__(self) -> None:
        """Open the graph."""
        self.session = onnxruntime.InferenceSession(_BUNDLE.read("model.onnx"))

    @bentoml.api  # type: ignore[untyped-decorator]
    def predict(self, row: Row) -> Answer:  # type: ignore[valid-type]
        """One prediction."""
        feed: dict[str, Any] = {
            "numbers": np.array(
                [[getattr(row, feature.name) for feature in _BUNDLE.contract.numbers]], dtype=np.float32
            )
        }
        if _BUNDLE.contract.categories:
            words = [getattr(row, feature.name) or "" for feature in _BUNDLE.contract.categories]
            feed["categories"] = np.array([words], dtype=object)
        labels, scores = self.session.run(["label", "scores"], feed)
        classes = _BUNDLE.contract.classes
        return Answer(
            prediction=classes[labels[0]], scores=dict(zip(classes, scores[0].tolist(), strict=True))
        )
