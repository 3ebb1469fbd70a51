"""How much the gRPC server takes at once, and how it ends."""

import asyncio
import threading
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from serving.http.answers import Answerer
from tests.serving.grpc.calling import Caller, request, speak


def test_more_than_so_many_at_once_are_refused(host, monkeypatch) -> None:
    """RESOURCE_EXHAUSTED, while the one in flight is answered."""
    hold = Hold(monkeypatch)

    async def talk(call: Caller) -> None:
        first = asyncio.ensure_future(call("ModelInfer", request()))
        await hold.reached()
        with pytest.raises(grpc.aio.AioRpcError) as found:
            await call("ModelInfer", request())
        assert found.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        hold.release()
        assert (await first).model_name == "toy"

    speak(host, talk, most=1)


class Hold:
    """Keeps predictions waiting until they are let go."""

    def __init__(self, monkeypatch: Any) -> None:
        """Stand in for every answer."""
        self._let_go = threading.Event()
        self._seen = threading.Event()
        answer = Answerer.run

        async def slow(answerer: Any, predictor: Any, rows: Any, call: Any) -> Any:
            self._seen.set()
            await asyncio.to_thread(self._let_go.wait, 20)
            return await answer(answerer, predictor, rows, call)

        monkeypatch.setattr(Answerer, "run", slow)

    async def reached(self) -> None:
        """Wait until one prediction waits."""
        assert await asyncio.to_thread(self._seen.wait, 20)

    def release(self) -> None:
        """Let them all go."""
        self._let_go.set()


def test_the_end_says_so_first_and_finishes_what_is_in_flight(host, monkeypatch) -> None:
    """Watchers hear NOT_SERVING, new calls are refused, the call in flight is answered."""
    hold = Hold(monkeypatch)
    states = health_pb2.HealthCheckResponse

    async def talk(call: Caller) -> None:
        watch = call.channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=states.FromString,
        )(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == states.SERVING
        flying = asyncio.ensure_future(call("ModelInfer", request()))
        await hold.reached()
        ending = asyncio.ensure_future(call.server.close(20))
        assert (await watch.read()).status == states.NOT_SERVING
        assert await watch.read() is grpc.aio.EOF
        with pytest.raises(grpc.aio.AioRpcError) as found:
            await call("ModelInfer", request())
        assert found.value.code() is grpc.StatusCode.UNAVAILABLE
        assert not flying.done()
        assert not ending.done()
        hold.release()
        assert (await flying).model_name == "toy"
        await ending

    speak(host, talk)
