"""The calls of GRPCInferenceService, over the same models, checks, metrics and log as /predict."""

import logging
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import grpc
from google.protobuf.message import DecodeError, Message

from serving.grpc import inference_pb2 as pb
from serving.grpc.messages import answer_of, described, parameters_of, tensors_of
from serving.http.admission import OVERLOADED, OverloadedError
from serving.http.bodies import ID_LENGTH, RefusedError
from serving.http.openapi import VERSION
from serving.http.replies import model_headers
from serving.http.v2_bodies import check_parameters
from serving.models.versions import Served, Versions
from serving.protocol.inference import Inferring
from serving.protocol.models import (
    EXTENSIONS,
    PLATFORM,
    SERVER,
    choose,
    inputs_of,
    outputs_of,
    versions_of,
)
from serving.protocol.outputs import to_outputs, wanted_outputs
from serving.protocol.tensors import wrong
from serving.recording.metrics import Metrics
from serving.tracing import Spans, Trace, read_trace

logger = logging.getLogger(__name__)

SERVICE = "inference.GRPCInferenceService"
CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
}
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


class Inference:
    """The handlers; `ready` says whether the server would take new calls."""

    def __init__(
        self,
        versions: Versions,
        inferring: Inferring,
        metrics: Metrics,
        *,
        ready: Callable[[], bool],
        spans: Spans | None,
    ) -> None:
        """Keep who answers and what counts."""
        self._versions, self._inferring, self._metrics = versions, inferring, metrics
        self._ready, self._spans = ready, spans

    def handler(self) -> grpc.GenericRpcHandler:
        """Every call of the service. Messages are parsed inside it, so that a bad one has its status."""
        calls: dict[str, tuple[type[Message], Callable[..., Awaitable[Message]]]] = {
            "ServerLive": (pb.ServerLiveRequest, self.live),
            "ServerReady": (pb.ServerReadyRequest, self.server_ready),
            "ModelReady": (pb.ModelReadyRequest, self.model_ready),
            "ServerMetadata": (pb.ServerMetadataRequest, self.server),
            "ModelMetadata": (pb.ModelMetadataRequest, self.model),
            "ModelInfer": (pb.ModelInferRequest, self.infer),
        }
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                name: grpc.unary_unary_rpc_method_handler(self._guarded(name, *call))
                for name, call in calls.items()
            },
        )

    def _guarded(
        self, name: str, kind: type[Message], endpoint: Callable[..., Awaitable[Message]]
    ) -> Callable[[bytes, Any], Awaitable[bytes]]:
        """`endpoint`, in its trace, with every refusal turned into a status and a sentence."""

        async def call(data: bytes, context: Any) -> bytes:
            sent: dict[str, list[str]] = {}
            for key, value in context.invocation_metadata() or ():
                if isinstance(value, str):
                    sent.setdefault(key, []).append(value)
            trace, traced = _trace(sent, self._spans)
            own = sent.get("x-request-id", [""])[0]
            request_id = own if _REQUEST_ID.fullmatch(own) else trace.trace_id if traced else uuid4().hex
            span = None if self._spans is None else self._spans.start(f"{SERVICE}/{name}", trace)
            told: dict[str, str | int] = {"rpc.system": "grpc", "flightline.request_id": request_id}
            status = 500
            try:
                back: list[tuple[str, str]] = [("x-request-id", request_id)]
                if traced:
                    back += trace.headers()
                message = kind()
                try:
                    message.ParseFromString(data)
                except DecodeError:
                    raise RefusedError(400, f"the message is no {kind.DESCRIPTOR.name}") from None
                answer = await endpoint(message, _Asked(request_id, trace, back))
                for key, attribute in (("x-model", "model"), ("x-model-version", "model.version")):
                    told.update({f"flightline.{attribute}": value for k, value in back if k == key})
                await context.send_initial_metadata(back)
                status = 200
                return answer.SerializeToString()
            except RefusedError as error:
                status = error.status
                self._metrics.refused(status)
                await context.send_initial_metadata(back)
                code = CODES.get(status, grpc.StatusCode.INTERNAL)
                await context.abort(code, error.error)
                raise  # abort has raised; for whoever reads
            except Exception:
                if status == 500:  # noqa: PLR2004 - a defect of ours, unlike what abort raises
                    logger.exception("%s failed", name)
                    self._metrics.refused(status)
                    await context.abort(
                        grpc.StatusCode.INTERNAL, "the service failed to answer; its log says why"
                    )
                raise
            finally:
                if self._spans is not None:
                    told["http.response.status_code"] = status
                    self._spans.end(span, trace, told, failed=status >= 500)  # noqa: PLR2004 - the server's own

        return call

    async def live(self, request: Message, asked: "_Asked") -> Message:  # noqa: ARG002 - a call's signature
        """The process answers."""
        return pb.ServerLiveResponse(live=True)

    async def server_ready(self, request: Message, asked: "_Asked") -> Message:  # noqa: ARG002 - every endpoint is given it
        """Every desired model was loaded and verified, and the server is not about to end."""
        return pb.ServerReadyResponse(ready=self._ready())

    async def server(self, request: Message, asked: "_Asked") -> Message:  # noqa: ARG002 - every endpoint is given it
        """The name of the server, the version of its interface, the extensions it understands."""
        return pb.ServerMetadataResponse(name=SERVER, version=VERSION, extensions=EXTENSIONS)

    async def model_ready(self, request: pb.ModelReadyRequest, asked: "_Asked") -> Message:
        """Whether a model answers; a name or version that nobody has is NOT_FOUND."""
        self._choose(request.name, request.version, asked)
        return pb.ModelReadyResponse(ready=self._ready())

    async def model(self, request: pb.ModelMetadataRequest, asked: "_Asked") -> Message:
        """The inputs and outputs of a model."""
        contract = self._choose(request.name, request.version, asked).predictor.contract
        return pb.ModelMetadataResponse(
            name=contract.model,
            versions=versions_of(self._versions.current, contract.model),
            platform=PLATFORM,
            inputs=map(described, inputs_of(contract)),
            outputs=map(described, outputs_of(contract)),
        )

    async def infer(self, request: pb.ModelInferRequest, asked: "_Asked") -> Message:
        """Predict rows of tensors."""
        began = time.perf_counter()
        try:
            with self._inferring.admission.request():
                return await self._infer(request, asked, began)
        except OverloadedError:
            raise RefusedError(429, OVERLOADED) from None

    async def _infer(self, request: pb.ModelInferRequest, asked: "_Asked", began: float) -> Message:
        served = self._choose(request.model_name, request.model_version, asked, asked.request_id)
        if len(request.id) > ID_LENGTH:
            raise wrong("id", f"{len(request.id)} characters", f"at most {ID_LENGTH}")
        parameters = parameters_of(request.parameters)
        check_parameters(parameters)
        for tensor in request.inputs:
            check_parameters(parameters_of(tensor.parameters))
        for output in request.outputs:
            check_parameters(parameters_of(output.parameters))
        names = wanted_outputs([output.name for output in request.outputs])
        contract, bundle = served.predictor.contract, served.predictor.bundle
        question = self._inferring.read(contract, tensors_of(request), parameters)
        asked.trace.rows = question.rows
        labels, scores = await self._inferring.answer(served.predictor, question, asked.request_id, began)
        return answer_of(
            contract.model,
            served.predictor.version,
            request.id or asked.request_id,
            to_outputs(contract, labels, scores, names),
            {"digest": bundle.digest, "request_id": asked.request_id},
        )

    def _choose(self, model: str, version: str, asked: "_Asked", request_id: str | None = None) -> Served:
        served = choose(self._versions.current, model, version, request_id)
        asked.back += [(key.lower(), value) for key, value in model_headers(served).items()]
        return served


class _Asked:
    """What a call knows besides its message; `back` is metadata of the answer."""

    def __init__(self, request_id: str, trace: Trace, back: list[tuple[str, str]]) -> None:
        self.request_id, self.trace, self.back = request_id, trace, back


def _trace(sent: dict[str, list[str]], spans: Spans | None) -> tuple[Trace, bool]:
    """The trace of a call, and whether there is any: a caller's, or one that spans begin."""
    parents = sent.get("traceparent", [])
    if not parents and spans is None:
        return Trace("", "", valid=False), False
    return read_trace(parents, sent.get("tracestate", [])), True
