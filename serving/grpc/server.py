"""The gRPC server of one worker: in the worker's event loop, on a port of its own."""

import asyncio
from collections.abc import Callable

import grpc

from contract.errors import FlightlineError
from serving.grpc.health import Health
from serving.grpc.inference import SERVICE, Inference
from serving.http.bodies import BATCH_BYTES
from serving.models.versions import Versions
from serving.protocol.inference import Inferring
from serving.recording.metrics import Metrics
from serving.tracing import Spans

# For calls in flight, once no new one is taken: as long as `python -m serving` gives HTTP at the same time.
GRACE_SECONDS = 20.0
HEADROOM = 64 * 1024  # bytes of a message that are not tensors
MOST_CALLS = 256  # of any kind at once, probes included; refused before they are read


class GrpcServer:
    """Starts and stops with its worker; `port` is known once it was started."""

    def __init__(
        self,
        versions: Versions,
        inferring: Inferring,
        metrics: Metrics,
        *,
        ready: Callable[[], bool],
        spans: Spans | None = None,
    ) -> None:
        """Prepare; nothing listens before `start`. `ready` says whether the service as a whole is."""
        self.port = 0
        self._may, self._draining = ready, False
        self._inference = Inference(versions, inferring, metrics, ready=self.ready, spans=spans)
        self._health: Health | None = None
        self._server: grpc.aio.Server | None = None
        self._ending: asyncio.Task[None] | None = None

    def ready(self) -> bool:
        """Whether new calls are welcome."""
        return self._may() and not self._draining

    async def start(self, host: str, port: int, *, shared: bool = False) -> None:
        """Listen on `host`:`port`; several workers of one service listen on the same one, if `shared`.

        Raises:
            FlightlineError: the port cannot be used.
        """
        self._health = Health(frozenset({SERVICE}), self.ready)
        server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", int(shared)),
                ("grpc.max_receive_message_length", BATCH_BYTES + HEADROOM),
                ("grpc.max_send_message_length", BATCH_BYTES),
                ("grpc.max_metadata_size", 16 * 1024),
            ],
            maximum_concurrent_rpcs=MOST_CALLS,
        )
        server.add_generic_rpc_handlers((self._inference.handler(), self._health.handler()))
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            self.port = server.add_insecure_port(address)
        except RuntimeError:
            raise FlightlineError(
                f"gRPC cannot listen on {address}",
                "a free port of this machine",
                "Stop what uses it or choose another FLIGHTLINE_GRPC_PORT",
            ) from None
        self._server = server
        await server.start()

    def end(self, grace: float = GRACE_SECONDS) -> "asyncio.Task[None]":
        """Say NOT_SERVING, take no new call, and finish those in flight within `grace` seconds; once."""
        if self._ending is None:
            self._draining = True
            if self._health is not None:
                self._health.end()
            self._ending = asyncio.create_task(self._stop(grace))
        return self._ending

    async def close(self, grace: float = GRACE_SECONDS) -> None:
        """Wait for the end, begun now or before."""
        await self.end(grace)

    async def _stop(self, grace: float) -> None:
        if self._server is not None:
            await self._server.stop(grace)
