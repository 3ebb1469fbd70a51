"""FastAPI, pydantic and onnxruntime: `python serve.py BUNDLE PORT`."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field, create_model


def row_model(features: list[dict[str, Any]]) -> type[BaseModel]:
    """A pydantic model of one row: types, and the ranges that refuse."""
    fields: dict[str, Any] = {}
    for feature in features:
        kind: Any = float if feature["kind"] == "number" else str
        if feature["kind"] == "number" and feature.get("out_of_range", "refuse") == "refuse":
            kind = Annotated[kind, Field(ge=feature.get("minimum"), le=feature.get("maximum"))]
        fields[feature["name"]] = (kind | None, None) if feature.get("nullable") else (kind, ...)
    return create_model("Row", __config__=ConfigDict(extra="forbid", allow_inf_nan=False), **fields)


def application(bundle: Path) -> FastAPI:
    """The application over the graph of `bundle`."""
    contract = json.loads((bundle / "contract.json").read_bytes())
    numbers = [feature["name"] for feature in contract["features"] if feature["kind"] == "number"]
    words = [feature["name"] for feature in contract["features"] if feature["kind"] == "category"]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(bundle / "model.onnx", options)
    Row = row_model(contract["features"])
    Body = create_model("Body", __config__=ConfigDict(extra="forbid"), row=(Row, ...))
    app = FastAPI()

    async def predict(body: Any) -> dict[str, Any]:
        row = body.row
        feed: dict[str, Any] = {}
        if numbers:
            values = [getattr(row, name) for name in numbers]
            feed["numbers"] = np.array([[np.nan if value is None else value for value in values]], np.float32)
        if words:
            feed["categories"] = np.array([[getattr(row, name) or "" for name in words]], object)
        label, scores = session.run(("label", "scores"), feed)
        return {
            "prediction": contract["classes"][int(label[0])],
            "scores": dict(zip(contract["classes"], scores[0].tolist(), strict=True)),
        }

    predict.__annotations__["body"] = Body
    app.post("/predict")(predict)
    return app


if __name__ == "__main__":
    uvicorn.run(application(Path(sys.argv[1])), port=int(sys.argv[2]), access_log=False, log_level="warning")
