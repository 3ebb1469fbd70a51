"""grpc.health.v1: what load balancers and Kubernetes ask before they send a call."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

SERVICE = "grpc.health.v1.Health"
WATCH_SECONDS = 0.2  # between two looks at the state, for whoever watches it


class Health:
    """Health of the server and of the services `names`, which are all as `ready` says."""

    def __init__(self, names: frozenset[str], ready: Callable[[], bool]) -> None:
        """Keep whom to ask."""
        self._names, self._ready = names | {"", SERVICE}, ready
        self._ending = asyncio.Event()

    def handler(self) -> grpc.GenericRpcHandler:
        """Both calls of the service."""
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Check": grpc.unary_unary_rpc_method_handler(
                    self.check, HealthCheckRequest.FromString, HealthCheckResponse.SerializeToString
                ),
                "Watch": grpc.unary_stream_rpc_method_handler(
                    self.watch, HealthCheckRequest.FromString, HealthCheckResponse.SerializeToString
                ),
            },
        )

    def end(self) -> None:
        """Say NOT_SERVING from now on, and let those who watch go."""
        self._ending.set()

    async def check(self, request: HealthCheckRequest, context: Any) -> HealthCheckResponse:
        """The state now; NOT_FOUND for a service that nobody has."""
        if request.service not in self._names:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no service '{request.service[:80]}'")
        return self._now(request)

    async def watch(self, request: HealthCheckRequest, context: Any) -> AsyncIterator[HealthCheckResponse]:  # noqa: ARG002 - a call's signature
        """The state now, and again whenever it changes, until the server ends."""
        last = None
        while not self._ending.is_set():
            now = self._now(request)
            if now != last:
                yield now
                last = now
            try:
                await asyncio.wait_for(self._ending.wait(), WATCH_SECONDS)
            except TimeoutError:
                continue
        yield self._now(request)

    def _now(self, request: HealthCheckRequest) -> HealthCheckResponse:
        if request.service not in self._names:
            return HealthCheckResponse(status=HealthCheckResponse.SERVICE_UNKNOWN)
        serving = self._ready() and not self._ending.is_set()
        return HealthCheckResponse(
            status=HealthCheckResponse.SERVING if serving else HealthCheckResponse.NOT_SERVING
        )
