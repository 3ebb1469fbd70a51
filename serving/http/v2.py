"""The Open Inference Protocol V2 over REST: health, metadata, inference, with JSON and binary tensors."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from serving.http.openapi import VERSION
from serving.http.replies import known_parameters, model_headers, reply
from serving.http.v2_bodies import HEADER_LENGTH, decode_infer, read_infer
from serving.models.versions import Served, Versions
from serving.protocol.inference import Inferring
from serving.protocol.models import (
    EXTENSIONS,
    PLATFORM,
    SERVER,
    TensorMetadata,
    choose,
    inputs_of,
    outputs_of,
    versions_of,
)
from serving.protocol.outputs import Output, to_outputs, wanted_outputs
from serving.protocol.tensors import wrong
from serving.tracing import note_rows

Endpoint = Callable[[Request], Awaitable[Response]]


class V2:
    """The endpoints below /v2."""

    def __init__(
        self,
        versions: Versions,
        inferring: Inferring,
        ready: Callable[[], bool] | None = None,
    ) -> None:
        """Keep which models there are, what answers, and who says whether to send more."""
        self._ready = ready or (lambda: versions.ready)
        self._versions, self._inferring = versions, inferring

    def routes(self, guarded: Callable[[Endpoint], Endpoint]) -> list[BaseRoute]:
        """Every route, each endpoint through `guarded`."""
        found: list[BaseRoute] = []
        for path, endpoint, method in (
            ("/v2", self.server, "GET"),
            ("/v2/health/live", self.live, "GET"),
            ("/v2/health/ready", self.ready, "GET"),
            ("/v2/models/{model}", self.model, "GET"),
            ("/v2/models/{model}/ready", self.model_ready, "GET"),
            ("/v2/models/{model}/infer", self.infer, "POST"),
            ("/v2/models/{model}/versions/{version}", self.model, "GET"),
            ("/v2/models/{model}/versions/{version}/ready", self.model_ready, "GET"),
            ("/v2/models/{model}/versions/{version}/infer", self.infer, "POST"),
        ):
            found.append(Route(path, guarded(endpoint), methods=[method]))
        return found

    async def server(self, request: Request) -> Response:  # noqa: ARG002 - an endpoint's signature
        """The name of the server, the version of its interface, the extensions it understands."""
        return reply({"name": SERVER, "version": VERSION, "extensions": EXTENSIONS})

    async def live(self, request: Request) -> Response:  # noqa: ARG002 - every endpoint is given it
        """The process answers."""
        return reply({"live": True})

    async def ready(self, request: Request) -> Response:  # noqa: ARG002 - every endpoint is given it
        """Every desired model was loaded and verified."""
        ready = self._ready()
        return reply({"ready": ready}, 200 if ready else 503)

    async def model(self, request: Request) -> Response:
        """The inputs and outputs of a model."""
        known_parameters(request, set())
        served = self._choose(request)
        contract = served.predictor.contract
        return reply(
            {
                "name": contract.model,
                "versions": versions_of(self._versions.current, contract.model),
                "platform": PLATFORM,
                "inputs": list(map(_described, inputs_of(contract))),
                "outputs": list(map(_described, outputs_of(contract))),
            },
            headers=model_headers(served),
        )

    async def model_ready(self, request: Request) -> Response:
        """Whether a model answers; otherwise 404 or 503 says why not."""
        known_parameters(request, set())
        served = self._choose(request)
        return reply({"name": served.predictor.contract.model, "ready": True}, headers=model_headers(served))

    async def infer(self, request: Request) -> Response:
        """Predict rows of tensors."""
        known_parameters(request, set())
        served = self._choose(request, request.state.id)
        data = await read_infer(request)
        began = time.perf_counter()
        with self._inferring.admission.request():
            return await self._infer(request, served, data, began)

    async def _infer(self, request: Request, served: Served, data: bytearray, began: float) -> Response:
        contract = served.predictor.contract
        body, tensors = decode_infer(request, data)
        for field, found, expected in (
            ("model_name", body.model_name, request.path_params["model"]),
            ("model_version", body.model_version, request.path_params.get("version", "")),
        ):
            if found and found != expected:
                raise wrong(field, f"'{found[:40]}'", f"'{expected[:40]}', as the path says")
        binary = body.binary_outputs()
        names = wanted_outputs([output.name for output in body.outputs or []])
        question = self._inferring.read(contract, tensors, body.parameters or {})
        note_rows(request.scope, question.rows)
        labels, scores = await self._inferring.answer(served.predictor, question, request.state.id, began)
        head = {
            "id": body.id or request.state.id,
            "model_name": contract.model,
            "model_version": served.predictor.version,
            "parameters": {"digest": served.predictor.bundle.digest, "request_id": request.state.id},
        }
        outputs = to_outputs(contract, labels, scores, names)
        return _answer(head, outputs, binary, model_headers(served))

    def _choose(self, request: Request, request_id: str | None = None) -> Served:
        path = request.path_params
        return choose(self._versions.current, path["model"], path.get("version", ""), request_id)


def _described(tensor: TensorMetadata) -> dict[str, Any]:
    described = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
    return described | ({"parameters": parameters} if (parameters := tensor.parameters) else {})


def _answer(
    head: dict[str, Any], outputs: list[Output], binary: dict[str, bool], headers: dict[str, str]
) -> Response:
    """The answer as JSON, with the binary form of what was wanted so behind it."""
    described: list[dict[str, Any]] = []
    tail: list[bytes] = []
    for output in outputs:
        entry: dict[str, Any] = {"name": output.name, "datatype": output.datatype, "shape": output.shape}
        if binary.get(output.name, binary.get("", False)):
            data = output.binary()
            tail.append(data)
            entry["parameters"] = {"binary_data_size": len(data)}
        else:
            entry["data"] = output.values if isinstance(output.values, list) else output.values.tolist()
        described.append(entry)
    text = msgspec.json.encode({**head, "outputs": described})
    if not tail:
        return Response(text, 200, headers, "application/json")
    headers = {**headers, HEADER_LENGTH: str(len(text))}
    return Response(b"".join([text, *tail]), 200, headers, "application/octet-stream")
