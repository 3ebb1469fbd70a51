"""The end of a process that is asked over gRPC and HTTP at once."""

import asyncio
import socket
from typing import Any

import grpc
import polars as pl
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from serving.models.desired import read_acks
from tests.serving.grpc.calling import METHODS, request
from tests.serving.processes import Process, head_of, started
from tests.serving.real import PYTHON, free_port

if not PYTHON.exists():
    pytest.skip(
        "NO .venv-serving: `make test` makes it; the end of gRPC goes untested", allow_module_level=True
    )

SOON_S = 8.0  # less than a request in flight over HTTP may take, and than calls over gRPC may
HALF = 10  # bytes of a body that is in flight


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["serving"], id="serving"),
        pytest.param(["serving", "--workers", "2"], id="two-workers"),
        pytest.param(["bentoml", "serve", "serving.service:Flightline"], id="bentoml"),
    ],
)
def test_calls_in_flight_are_finished_beside_requests(tmp_path, build_release, monkeypatch, command) -> None:
    """SIGTERM: watchers hear NOT_SERVING and are let go, new calls are refused, what was begun is answered.

    Neither waits for the other: HTTP has a request in flight all the while.
    """
    port = free_port()
    monkeypatch.setenv("FLIGHTLINE_GRPC_PORT", str(port))
    monkeypatch.setenv("FLIGHTLINE_RECEIVE_SECONDS", "60")  # the half request takes as long as all the rest
    service = started(tmp_path, build_release, command)
    process = next(service)
    body = b'{"row": {"width": 1.5, "letter": "A"}, "id": "last"}'
    with socket.create_connection(("127.0.0.1", process.port), timeout=20) as connection:
        connection.sendall(head_of(body) + body[:HALF])
        assert process.predict().status_code == 200
        asyncio.run(end_with_a_call_in_flight(process, port))
        assert process.popen.poll() is None
        connection.sendall(body[HALF:])
        assert b"200 OK" in connection.recv(65536)
    assert process.popen.wait(SOON_S) == 0
    logged = pl.read_parquet(tmp_path / "predictions" / "toy" / "*.parquet")
    assert {"last"} <= set(logged["entity_id"].to_list())
    assert {"first", "flying"} <= set(logged["request_id"].to_list())
    assert read_acks(tmp_path / "state") == {}
    assert "Traceback" not in (tmp_path / "output.txt").read_text()
    service.close()


async def end_with_a_call_in_flight(process: Process, port: int) -> None:
    """A call whose message is sent only when the service has told everybody to go."""
    path, answer = METHODS["ModelInfer"]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        watch = channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            request_serializer=HealthCheckRequest.SerializeToString,
            response_deserializer=HealthCheckResponse.FromString,
        )(HealthCheckRequest())
        assert (await watch.read()).status == HealthCheckResponse.SERVING
        # To the server it is a call like any other: how many messages come is in no header.
        late = channel.stream_unary(path, response_deserializer=answer.FromString)
        flying = late(metadata=[("x-request-id", "flying")], timeout=60)
        await flying.wait_for_connection()
        infer = channel.unary_unary(path, response_deserializer=answer.FromString)
        message = request().SerializeToString()
        # On the same connection: its answer says that the server has seen the call before it.
        await infer(message, metadata=[("x-request-id", "first")], timeout=20)
        process.client.close()
        process.popen.terminate()
        assert set(await asyncio.wait_for(read(watch), SOON_S)) == {HealthCheckResponse.NOT_SERVING}
        assert await asyncio.wait_for(refusal(infer, message), SOON_S) is grpc.StatusCode.UNAVAILABLE
        assert not flying.done()
        await flying.write(message)
        await flying.done_writing()
        assert (await asyncio.wait_for(flying, SOON_S)).model_name == "toy"


async def refusal(infer: Any, message: bytes) -> grpc.StatusCode:
    """How a call is refused, once it is: another worker may hear of the end a moment later."""
    while True:
        try:
            await infer(message, timeout=20)
        except grpc.aio.AioRpcError as error:
            return error.code()


async def read(watch: Any) -> list[int]:
    """What is said from now on, until the end."""
    found = []
    while (said := await watch.read()) is not grpc.aio.EOF:
        found.append(said.status)
    return found
