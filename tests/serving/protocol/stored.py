"""A model with features of the online store, and the ways to ask for a prediction without them."""

from typing import Any

import grpc
import msgspec
import numpy as np

from contract.schema import Contract, Feature, Lookup
from serving.features.facts import microseconds
from serving.features.groups import plans
from serving.features.store import Event, Held, Published, key_text
from serving.grpc import inference_pb2 as pb
from serving.protocol.tensors import split_strings
from tests.serving.grpc.calling import Caller, speak
from tests.training.worlds import minute, past

# Of every kind: a key that is a numeric feature, a word as a key beside the row, a whole number as one.
CONTRACT = Contract(
    model="toy",
    features=(
        Feature("width", "number", "what only a caller knows", minimum=0, maximum=10),
        Feature("letter", "category", "one of two", categories=("A", "B"), nullable=True),
        Feature(
            "height", "number", "", "stream", nullable=True, aggregate=past("mean"), stale_after_minutes=30
        ),
        Feature("rate", "number", "", "batch", nullable=True, aggregate=past("mean", 600, by=("flight",))),
        Feature("seats", "number", "", "batch", nullable=True, lookup=Lookup("planes", ("tail",), "seats")),
        Feature("floor", "number", "", "batch", nullable=True, lookup=Lookup("rooms", ("width",), "floor")),
    ),
    target="kind",
    classes=("low", "middle", "high"),
    scores="probability",
    routes=("/predict/toy",),
)
STORED = [feature.name for feature in CONTRACT.stored]
KEYS = {"flight": 7, "origin": "JFK", "tail": "N1"}
LEFT = {"width": 2.0, "letter": "A"}  # of a row, once the store's features are left out


def fill(store: Any) -> None:
    """Two departures, one plane and one room, all of it materialised ten minutes before noon."""
    groups = [plan.group for plan in plans(CONTRACT)]
    store.register(groups)
    generation, as_of = store.begin(), microseconds(minute(-10))
    store.put_records(generation, "planes", [(key_text(("N1",)), {"seats": 180})])
    store.put_records(generation, "rooms", [(key_text((2,)), {"floor": 3})])
    published = Published(generation, as_of)
    held = {group.id: Held(group, ready=True, generation=generation, as_of=as_of) for group in groups}
    store.switch(generation, held, {"planes": published, "rooms": published})
    facts = {"origin": "JFK", "flight": 7}
    store.add(
        [
            Event(f"e{at}", "departures", microseconds(minute(at)), {**facts, "delay": delay})
            for at, delay in ((-5, 10), (-1, 31))
        ]
    )


def column(name: str, datatype: str, values: list[Any]) -> dict[str, Any]:
    """One tensor with a value a row."""
    return {"name": name, "datatype": datatype, "shape": [len(values)], "data": values}


def tensors(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Features as tensors; those that no row has are left out."""
    return [
        column(f.name, "FP32" if f.kind == "number" else "BYTES", [row[f.name] for row in rows])
        for f in CONTRACT.features
        if f.name in rows[0]
    ]


def to_message(body: dict[str, Any], model: str = "toy") -> pb.ModelInferRequest:
    """The gRPC form of a REST body."""
    made = pb.ModelInferRequest(model_name=model)
    for name, value in body.get("parameters", {}).items():
        kind = {bool: "bool_param", int: "int64_param", str: "string_param"}.get(type(value), "double_param")
        made.parameters[name].CopyFrom(pb.InferParameter(**{kind: value}))
    for tensor in body["inputs"]:
        added = made.inputs.add(name=tensor["name"], datatype=tensor["datatype"], shape=tensor["shape"])
        if tensor["datatype"] == "FP32":
            numbers = [float("nan") if value is None else value for value in tensor["data"]]
            added.contents.fp32_contents.extend(numbers)
        elif tensor["datatype"] == "INT64":
            added.contents.int64_contents.extend(tensor["data"])
        else:
            added.contents.bytes_contents.extend((value or "").encode() for value in tensor["data"])
    return made


def over_grpc(host: Any, message: pb.ModelInferRequest) -> Any:
    """The answer of a server over the models and the store of `host`, or the error that a client sees."""

    async def talk(call: Caller) -> Any:
        try:
            return await call("ModelInfer", message)
        except grpc.aio.AioRpcError as error:
            return error

    return speak(host, talk)


def of_rest(answer: dict[str, Any]) -> tuple[list[str], list[float]]:
    """Labels, and scores row by row, of a REST answer."""
    label, scores = answer["outputs"]
    return label["data"], scores["data"]


def of_grpc(answer: pb.ModelInferResponse) -> tuple[list[str], list[float]]:
    """Labels, and scores row by row, of a gRPC answer."""
    label, scores = answer.raw_output_contents
    return split_strings("label", label), np.frombuffer(scores, "<f4").tolist()


def of_predict(answer: dict[str, Any]) -> tuple[list[str], list[float]]:
    """The same of an answer of /predict_batch, as 32 bits."""
    scores = np.array(answer["scores"], dtype=np.float32)
    return answer["predictions"], scores.ravel().tolist()


STRICT = msgspec.structs.replace(
    CONTRACT,
    model="strict",
    routes=(),
    features=tuple(msgspec.structs.replace(f, nullable=f.name == "letter") for f in CONTRACT.features),
)
