"""The BentoML service: `bentoml serve serving.service:Flightline`, or, sooner up, `python -m serving`."""

import asyncio
import gc
from typing import TYPE_CHECKING, Any, cast

import bentoml

from serving.settings import Settings
from serving.tracing import Spans, Traced
from serving.under_bentoml import inherited_listener, take_protocol

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from serving.admin.server import Admin
    from serving.grpc.server import GrpcServer
    from serving.http.whole import Caller

# What BentoML answers itself. Everything else goes straight to our application: in front of it stand a
# tracer and a timer a request, which cost more than a prediction does.
METRICS_PATH = "/metrics"
BENTOML_PATHS = frozenset({"/livez", "/healthz", "/readyz", METRICS_PATH, "/schema.json"})


class SeamService(bentoml.Service[Any]):  # type: ignore[misc]  # it is Any to mypy
    """A BentoML service whose instance brings an ASGI application, `app`, for the paths that are ours."""

    instance: Any = None
    held = False  # until the service is ready: then who holds it has its instance listen for gRPC

    def __call__(self) -> Any:
        """Make the instance that serves, and remember it."""
        self.instance = super().__call__()
        return self.instance

    def to_asgi(self, is_main: bool = True) -> "ASGIApp":
        """BentoML's application for its own paths and the lifespan, the instance's for all others."""
        own = cast("ASGIApp", super().to_asgi(is_main=is_main))
        take_protocol()  # whoever asked for the application makes its server next

        def take(headers: dict[bytes, bytes], query: bytes, data: bytes, caller: "Caller") -> bool:
            """What is good and arrived whole, unless its answer needs more than the model says."""
            instance = self.instance
            if instance.spans is not None or instance.drain.draining:
                return False
            taken: bool = instance.hot.take(headers, query, data, caller)
            return taken

        def refused(status: int) -> None:
            """Count what never became a request."""
            self.instance.metrics.refused(status)

        async def seam(scope: "Scope", receive: "Receive", send: "Send") -> None:
            if scope["type"] == "lifespan" and "state" in scope:
                from serving.http.bodies import BATCH_BYTES
                from serving.http.whole import OFFER, Offer

                offer = Offer(b"/predict", take, b"/predict_batch", BATCH_BYTES, refused)
                scope["state"][OFFER] = offer
            if scope["type"] == "http":
                send = self.instance.drain.sending(send)
                if scope["path"] not in BENTOML_PATHS or scope["method"] not in {"GET", "HEAD"}:
                    await self.instance.app(scope, receive, send)
                    return
                if scope["path"] == METRICS_PATH:
                    self.instance.metrics.flush()  # BentoML reads what is in the files of all workers
            await own(scope, receive, send)

        return seam


@bentoml.service(
    name="flightline",
    service_class=SeamService,
    workers=1,
    tracing={"excluded_urls": ".*"},  # the tracer works even at a sample rate of zero
    logging={"access": {"enabled": False}},
    metrics={"enabled": True},
)
class Flightline:
    """Every model of the desired state, in one process."""

    def __init__(self) -> None:
        """Start following the desired state; the first models load behind a `/readyz` that says 503."""
        # Not before: prometheus_client must find the folder that BentoML names when a worker starts.
        from serving.drain import Drain
        from serving.features.completion import Completer
        from serving.features.store import open_store
        from serving.http.admission import Admission
        from serving.http.app import build_app
        from serving.http.hot import Hot
        from serving.http.limits import Limits
        from serving.models.versions import Versions
        from serving.recording.log_settings import LogSettings
        from serving.recording.metrics import Metrics
        from serving.recording.mirror import MirroringLog

        settings = Settings.from_environment()
        self.settings = settings
        self.admin = _admin(settings)  # first: it is what can fail, and no thread is left behind by it
        self.versions = Versions(settings, on_ready=_settle)
        self.log = MirroringLog(
            settings.predictions,
            self.versions.worker,
            LogSettings.from_environment(),
            lambda: self.versions.current,
            lambda: Completer(open_store(settings.online_store), cache_seconds=0),
        )
        self.metrics = Metrics(self.log.summary)
        self.spans = Spans(settings.otlp_endpoint) if settings.otlp_endpoint else None
        self.grpc: GrpcServer | None = None
        self.completer = Completer(open_store(settings.online_store), settings.online_cache_s)
        limits = Limits.from_environment()
        self.admission = Admission(limits.requests, limits.rows)  # one bound, whatever way requests come
        slow = build_app(
            settings,
            self.versions,
            self.log,
            self.metrics,
            self.completer,
            admission=self.admission,
            ready=self.ready,
        )
        self.hot = Hot(
            slow, settings, self.versions, self.log, self.metrics, limits=limits, admission=self.admission
        )
        self.app = Traced(self.hot, self.spans)
        self.drain = Drain(settings.drain_seconds, inherited_listener(), self._end_calls)
        self.drain.install()
        self.metrics.start()
        self.log.start()
        self.versions.start()

    @bentoml.on_startup  # type: ignore[untyped-decorator]  # it ships no types
    async def listen(self) -> None:
        """Give the prediction log its share of the loop's time, and answer over gRPC unless that is held."""
        self.log.share(asyncio.get_running_loop(), lambda: self.admission.requests > 0)
        if not cast("SeamService", Flightline).held:
            await self.listen_grpc()

    async def listen_grpc(self) -> None:
        """Answer over gRPC where a port says so."""
        if self.settings.grpc_port is None:
            return
        from serving.grpc.server import GrpcServer  # only here: not everybody wants its import time
        from serving.http.answers import Answerer
        from serving.http.completing import Completing
        from serving.protocol.inference import Inferring

        inferring = Inferring(
            Answerer(self.log, self.metrics),
            Completing(self.completer, self.metrics),
            self.admission,
            self.settings.clock,
        )
        self.grpc = GrpcServer(self.versions, inferring, self.metrics, ready=self.ready, spans=self.spans)
        await self.grpc.start(self.settings.grpc_host, self.settings.grpc_port, shared=True)

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]  # as above
    async def close(self) -> None:
        """Write the last predictions once gRPC has ended, too; HTTP requests have been answered by now."""
        if self.grpc is not None:
            await self.grpc.close()
        await asyncio.to_thread(self._close)

    def _end_calls(self) -> None:
        """Let gRPC end beside HTTP: who stops us waits for one of them, not for both in turn."""
        if self.grpc is not None:
            self.grpc.end()

    def _close(self) -> None:
        if self.admin is not None:
            self.admin.close()
        self.versions.close()
        self.hot.close()
        self.log.close()
        self.completer.close()
        self.metrics.close()
        if self.spans is not None:
            self.spans.close()

    def ready(self) -> bool:
        """Whether everything desired is served, and no end is in sight."""
        return self.versions.ready and not self.drain.draining

    def __is_ready__(self) -> bool:
        """BentoML's /readyz asks this; its own sentence names this method, ours the reason."""
        if not self.ready():
            from starlette.exceptions import HTTPException

            reason = "it is about to end" if self.drain.draining else self.versions.reason
            raise HTTPException(503, f"The service is not ready: {reason or 'its models are being loaded'}\n")
        return True

    def __metrics__(self, gathered: str) -> str:
        """Add to BentoML's /metrics what is read when asked for."""
        from serving.recording.metrics import process_and_models
        from serving.resources import worker_resources

        models = process_and_models(self.versions.current)
        return gathered + models + worker_resources(self.settings.state)


def _admin(settings: Settings) -> "Admin | None":
    """The admin API, started, where one is asked for; a service without one does not even import it."""
    if settings.admin_port is None:
        return None
    from serving.admin.server import Admin

    admin = Admin(settings.state, settings.admin_port)
    admin.start()
    return admin


def _settle() -> None:
    """Take everything loaded so far out of the collector's sight: it is walked no more during requests."""
    from serving.allocator import give_back

    gc.collect()
    gc.freeze()
    give_back()
