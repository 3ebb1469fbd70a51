"""Who is measured: a table. Each is a command, a route and the form of its body."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from contract.graphs import TELEMETRY_OFF

ROOT = Path(__file__).parents[2]
OURS = "flightline"
LIMIT = "echo"
STOCK = "bentoml-stock"
MLSERVER, MLSERVER_ALONE = "mlserver", "mlserver-in-process"


@dataclass(frozen=True)
class Place:
    """What a contender finds when it is started."""

    bundle: Path  # of the model
    work: Path  # a folder of its own
    state: Path  # holds desired.json
    trust: Path


@dataclass(frozen=True)
class Contender:
    """One server; `command` gets the place and the port."""

    name: str
    title: str
    command: Callable[[Place, int], list[str]]
    path: str = "/predict"
    ready: str = "/readyz"  # answered with 200 once it serves
    body: Callable[[dict[str, Any]], bytes] = lambda row: msgspec.json.encode({"row": row})
    python: Path = ROOT / ".venv-serving" / "bin" / "python"  # a peer has an environment of its own
    variables: Mapping[str, str] = field(default_factory=dict)  # of its environment, beside everybody's


def _flightline(place: Place, port: int) -> list[str]:
    return [
        *("-m", "serving", "--port", str(port), "--state", str(place.state), "--trust", str(place.trust)),
        *("--predictions", str(place.work / "predictions")),
    ]


def _echo(_: Place, port: int) -> list[str]:
    stack = ("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--no-server-header")
    return [
        *("-m", "uvicorn", "benchmarks.serving.apps.echo:app", "--port", str(port), *stack),
        *("--log-level", "warning"),
    ]


def _stock(_: Place, port: int) -> list[str]:
    return ["-m", "bentoml", "serve", "benchmarks.serving.apps.stock:Stock", "--port", str(port)]


def _peer(name: str, title: str, *words: str, peer: str | None = None, **differences: Any) -> Contender:
    """A server of `benchmarks/peers/PEER`, in the environment that `make peers` makes of its lock file."""
    folder = ROOT / "benchmarks" / "peers" / (peer or name)
    return Contender(
        name,
        title,
        lambda place, port: [str(folder / "serve.py"), str(place.bundle), str(port), *words],
        python=ROOT / "var" / "peers" / folder.name / "bin" / "python",
        **differences,
    )


def _tensors(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The graph's inputs of one row, whose values stand in the contract's order."""
    words = [value for value in row.values() if isinstance(value, str)]
    numbers = [value for value in row.values() if not isinstance(value, str)]
    return [
        {"name": name, "shape": [1, len(values)], "datatype": kind, "data": values}
        for name, kind, values in (("numbers", "FP32", numbers), ("categories", "BYTES", words))
        if values
    ]


V2_IN_JSON: dict[str, Any] = {
    "path": "/v2/models/model/infer",
    "ready": "/v2/models/model/ready",
    "body": lambda row: msgspec.json.encode({"inputs": _tensors(row)}),
}

CONTENDERS = (
    Contender(OURS, "this service: metrics, validation and prediction log on", _flightline),
    Contender(LIMIT, "ASGI echo of constant bytes, same server stack", _echo, ready="/"),
    Contender(STOCK, "stock BentoML: @bentoml.api with pydantic", _stock),
    _peer("fastapi", "FastAPI with pydantic and onnxruntime", ready="/docs"),
    _peer("litserve", "LitServe", ready="/health"),
    _peer(
        "mlflow",
        "mlflow models serve",
        path="/invocations",
        ready="/ping",
        body=lambda row: msgspec.json.encode({"dataframe_records": [row]}),
    ),
    _peer(
        MLSERVER,
        "MLServer as it starts by default: a process that listens and one that infers",
        **V2_IN_JSON,
    ),
    _peer(
        MLSERVER_ALONE,
        "MLServer told to infer in the process that listens",
        "0",
        peer=MLSERVER,
        **V2_IN_JSON,
    ),
)


def environment(place: Place) -> dict[str, str]:
    """The environment every contender is started with."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "FLIGHTLINE_BENCH_BUNDLE": str(place.bundle),
        "FLIGHTLINE_STATE": str(place.state),
        "FLIGHTLINE_TRUST": str(place.trust),
        "FLIGHTLINE_PREDICTIONS": str(place.work / "predictions"),
        "BENTOML_HOME": str(place.work / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
        "DO_NOT_TRACK": "1",
        TELEMETRY_OFF: "1",
    }
