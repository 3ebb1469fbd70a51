"""W3C trace context, and one OpenTelemetry span a request where FLIGHTLINE_OTLP_ENDPOINT asks for them.

A caller without `traceparent`, while spans are off, costs one look at the headers and nothing else.
"""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# https://www.w3.org/TR/trace-context/: a later version may have more fields, version 00 has none.
_TRACEPARENT = re.compile(
    r"(?P<version>(?!ff)[0-9a-f]{2})-(?P<trace>(?!0{32})[0-9a-f]{32})-(?P<span>(?!0{16})[0-9a-f]{16})"
    r"-(?P<flags>[0-9a-f]{2})(?P<rest>-.*)?"
)
_TRACESTATE_LENGTH = 512  # characters that are passed on, at most
_KEY = "flightline.trace"  # where a request's scope keeps its trace
EXPORT_SECONDS = 2.0  # for a collector to take a batch of spans


@dataclass(slots=True)
class Trace:
    """Where a request belongs in a trace, and what is to be told about it."""

    trace_id: str  # 32 hex digits
    span_id: str  # 16 hex digits: the caller's, or that of our own span
    flags: str = "00"  # 01: the caller records its span
    state: str = ""  # of other tracing systems, passed on
    valid: bool = True  # it came from the caller
    rows: int | None = None

    @property
    def parent(self) -> str:
        """As a `traceparent` header."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"

    def headers(self) -> list[tuple[str, str]]:
        """What goes back to the caller."""
        return [("traceparent", self.parent), *([("tracestate", self.state)] if self.state else [])]


def read_trace(parents: Sequence[str], states: Sequence[str] = ()) -> Trace:
    """The caller's trace, or a new one where its headers are absent, repeated or malformed."""
    found = _TRACEPARENT.fullmatch(parents[0]) if len(parents) == 1 else None
    if found is None or (found["version"] == "00" and found["rest"]):
        return Trace(secrets.token_hex(16), secrets.token_hex(8), valid=False)
    state = ",".join(states)
    return Trace(
        found["trace"],
        found["span"],
        flags=f"{int(found['flags'], 16) & 1:02x}",  # the other bits are nobody's yet
        state=state if len(state) <= _TRACESTATE_LENGTH and state.isprintable() else "",
    )


def note_rows(scope: "Scope", rows: int) -> None:
    """Tell the span of a request how many rows it brought."""
    trace = scope.get(_KEY)
    if trace is not None:
        trace.rows = rows


class Spans:
    """Sends a span for each request to a collector, from a thread of its own."""

    def __init__(self, endpoint: str) -> None:
        """Prepare for the collector at `endpoint`, such as http://127.0.0.1:4318; OTEL_* refine the rest."""
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        exporter = OTLPSpanExporter(endpoint=endpoint.rstrip("/") + "/v1/traces", timeout=EXPORT_SECONDS)
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": "flightline"}), shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("serving")

    def start(self, name: str, trace: Trace) -> Any:
        """A span below the caller's, whose id `trace` then carries on."""
        from opentelemetry.trace import (
            NonRecordingSpan,
            SpanContext,
            SpanKind,
            TraceFlags,
            set_span_in_context,
        )

        context = None
        if trace.valid:
            parent = SpanContext(
                int(trace.trace_id, 16), int(trace.span_id, 16), True, TraceFlags(int(trace.flags, 16))
            )
            context = set_span_in_context(NonRecordingSpan(parent))
        span = self._tracer.start_span(name, context, SpanKind.SERVER)
        own = span.get_span_context()
        trace.trace_id, trace.span_id = f"{own.trace_id:032x}", f"{own.span_id:016x}"
        trace.flags = f"{own.trace_flags:02x}"
        return span

    def end(self, span: Any, trace: Trace, attributes: dict[str, str | int], *, failed: bool) -> None:
        """Close a span with what became of its request."""
        from opentelemetry.trace import StatusCode

        if trace.rows is not None:
            span.set_attribute("flightline.rows", trace.rows)
        span.set_attributes(attributes)
        if failed:
            span.set_status(StatusCode.ERROR)
        span.end()

    def close(self) -> None:
        """Send what is left, as long as the collector takes it in time."""
        self._provider.shutdown()


# Of an answer, for its span: the header and the attribute.
_TOLD = {
    b"x-model": "flightline.model",
    b"x-model-version": "flightline.model.version",
    b"x-request-id": "flightline.request_id",
}


class Traced:
    """An ASGI application whose answers carry the trace of their requests."""

    def __init__(self, app: "ASGIApp", spans: Spans | None) -> None:
        """Keep the application, and where spans go, if anywhere."""
        self._app, self._spans = app, spans

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer a request in its trace; one without X-Request-Id is logged under the id of its trace."""
        headers = scope.get("headers", ())
        parents = [value for name, value in headers if name == b"traceparent"]
        if scope["type"] != "http" or (not parents and self._spans is None):
            await self._app(scope, receive, send)
            return
        states = [value.decode("latin-1") for name, value in headers if name == b"tracestate"]
        trace = read_trace([value.decode("latin-1") for value in parents], states)
        scope = {**scope, _KEY: trace}
        name = f"{scope['method']} {scope['path'][:200]}"
        span = None if self._spans is None else self._spans.start(name, trace)
        if not any(name == b"x-request-id" for name, _ in headers):
            scope["headers"] = [*headers, (b"x-request-id", trace.trace_id.encode())]
        told: dict[str, str | int] = {"http.request.method": scope["method"], "url.path": scope["path"][:200]}
        status = 500

        async def tell(message: "Message") -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                answered = list(message.get("headers", ()))
                told.update({_TOLD[key]: value.decode("latin-1") for key, value in answered if key in _TOLD})
                back = [(key.encode(), value.encode("latin-1")) for key, value in trace.headers()]
                message = {**message, "headers": [*answered, *back]}
            await send(message)

        try:
            await self._app(scope, receive, tell)
        finally:
            if self._spans is not None:
                told["http.response.status_code"] = status
                self._spans.end(span, trace, told, failed=status >= 500)  # noqa: PLR2004 - the server's own
