"""Calls of the worker's gRPC server, by grpc's own client."""

import asyncio
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from serving.grpc import inference_pb2
from serving.grpc.server import GrpcServer
from serving.http.admission import Admission
from serving.http.answers import Answerer
from serving.http.completing import Completing
from serving.protocol.inference import Inferring
from serving.protocol.tensors import join_strings

ROW = {"width": 1.5, "height": 0.25, "letter": "A"}
Request = inference_pb2.ModelInferRequest
METHODS = {
    **{
        name: (f"/inference.GRPCInferenceService/{name}", getattr(inference_pb2, f"{name}Response"))
        for name in (
            *("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer"),
        )
    },
    "Check": ("/grpc.health.v1.Health/Check", health_pb2.HealthCheckResponse),
}


class Caller:
    """Calls of one channel; `server` is what answers."""

    def __init__(self, server: GrpcServer, channel: grpc.aio.Channel) -> None:
        """Keep both."""
        self.server, self.channel = server, channel

    async def __call__(self, name: str, message: Any, metadata: Any = None) -> Any:
        """The answer to one message, or bytes, of the method `name`."""
        return await self.begin(name, message, metadata)

    def begin(self, name: str, message: Any, metadata: Any = None) -> Any:
        """The call itself."""
        path, answer = METHODS[name]
        data = message if isinstance(message, bytes) else message.SerializeToString()
        method = self.channel.unary_unary(
            path, request_serializer=None, response_deserializer=answer.FromString
        )
        return method(data, metadata=metadata, timeout=20)


def server_of(host: Any, most: int = 100) -> GrpcServer:
    """A server over the models of `host` that takes `most` inferences at once."""
    inferring = Inferring(
        Answerer(host.log, host.metrics),
        Completing(host.completer, host.metrics),
        Admission(most, 4_000),
        host.settings.clock,
    )
    return GrpcServer(host.versions, inferring, host.metrics, ready=lambda: host.versions.ready)


def speak(host: Any, talk: Callable[[Caller], Awaitable[Any]], **arguments: Any) -> Any:
    """Run `talk` against a server over the models of `host`, and end the server."""

    async def run() -> Any:
        server = server_of(host, **arguments)
        await server.start("127.0.0.1", 0)
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
                return await talk(Caller(server, channel))
        finally:
            await server.close(1)

    return asyncio.run(run())


def request(*, typed: bool = True, **changes: Any) -> Any:
    """One row, as typed lists or in binary form."""
    made = Request(model_name="toy", **changes)
    for name, datatype, width in (("numbers", "FP32", 2), ("categories", "BYTES", 1)):
        tensor = made.inputs.add(name=name, datatype=datatype, shape=[1, width])
        if typed and datatype == "FP32":
            tensor.contents.fp32_contents.extend([1.5, 0.25])
        elif typed:
            tensor.contents.bytes_contents.append(b"A")
    if not typed:
        made.raw_input_contents.extend([struct.pack("<2f", 1.5, 0.25), join_strings(["A"])])
    return made


def refusal(host: Any, message: Any, name: str = "ModelInfer", **arguments: Any) -> tuple[Any, str]:
    """Code and details of a call that fails."""

    async def talk(call: Caller) -> tuple[Any, str]:
        with pytest.raises(grpc.aio.AioRpcError) as found:
            await call(name, message)
        return found.value.code(), str(found.value.details())

    code: tuple[Any, str] = speak(host, talk, **arguments)
    return code
