"""The hot path: good requests to /predict and /predict_batch, in front of BentoML and of Starlette.

It reads a bounded body, decodes it straight into the contract's struct and has it answered with whatever else
arrived in this turn of the event loop. What is not perfectly good goes on to the application behind, with all
that was read of it: there it is judged, and a sentence made about it. Both answer alike, byte for byte.
"""

import os
import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import msgspec

from serving.http import bodies
from serving.http.admission import INLINE_ROWS, OVERLOADED, RETRY_SECONDS, Admission
from serving.http.bodies import BATCH_BYTES, SINGLE_BYTES
from serving.http.compiled import Plan
from serving.http.limits import Limits
from serving.http.messages import TaskCaller, read, replay, send_whole
from serving.http.reading import Reading
from serving.http.ticks import Ticks
from serving.http.waiting import Arrival
from serving.http.whole import Caller
from serving.models.versions import NotServedError, Served, Snapshot, Versions
from serving.recording.metrics import Metrics
from serving.recording.prediction_log import PredictionLog
from serving.settings import Settings
from serving.tracing import note_rows

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

SINGLE, BATCH, CLAIMED = "/predict", "/predict_batch", "/predict/"
PARAMETERS = frozenset({"model", "version"})
LONG_BYTES = 32 * 1024  # of a batch that is decoded beside the event loop, which has others to answer
_IDS, _ID_BYTES = 256, 16  # ids drawn ahead, and the size of each
_SHORT = len(str(SINGLE_BYTES))  # a content length of fewer digits is under every limit

_REFUSED = msgspec.json.encode({"error": OVERLOADED, "problems": []})
_REFUSED_FIELDS = [(b"content-type", b"application/json"), (b"retry-after", b"%d" % RETRY_SECONDS)]
_REFUSED_LINES = b"".join(b"%b: %b\r\n" % field for field in _REFUSED_FIELDS)


class Hot:
    """Answers what is good, and passes all else on."""

    def __init__(
        self,
        slow: "ASGIApp",
        settings: Settings,
        versions: Versions,
        log: PredictionLog,
        metrics: Metrics,
        *,
        limits: Limits,
        admission: Admission | None = None,
    ) -> None:
        """Stand in front of `slow`, the application that knows every route and every sentence."""
        self._slow, self._reading = slow, Reading(settings.clock)
        self._versions, self._metrics = versions, metrics
        self._admission = admission or Admission(limits.requests, limits.rows)
        self._ticks = Ticks(log, self._admission)
        self._plans: dict[int, Plan] = {}  # by the identity of the predictor, which the plan keeps alive
        self._snapshot: Snapshot | None = None
        self._usual: Plan | None = None  # for who names nobody, where one version answers all of them
        self._ids: list[str] = []

    def close(self) -> None:
        """Wait for what was begun."""
        self._ticks.close()

    def take(self, headers: dict[bytes, bytes], query: bytes, data: bytes, caller: Caller) -> bool:
        """Answer a good request of one row that arrived whole; False: it is to come as any other does."""
        get, admission = headers.get, self._admission
        if (
            get(b"content-type") != b"application/json"
            or b"content-encoding" in headers
            or b"traceparent" in headers
            or len(data) > SINGLE_BYTES
        ):
            return False
        sent = get(b"x-request-id")
        request_id = self._new_id() if sent is None else bodies.plain_id(sent) or self._new_id()
        if admission.requests >= admission.most_requests:
            admission.in_turn(partial(self._refuse_whole, caller, request_id.encode()))
            return True
        plan = self._choose(query, request_id)
        waiting = None
        if plan is not None:
            waiting = self._reading.one(plan, data, request_id, caller, self._ticks.arrival)
        if plan is None or waiting is None:
            return False
        waiting.admitted = True
        admission.requests += 1
        self._ticks.add(plan, waiting)
        return True

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """One request."""
        path = scope["path"]
        if scope["type"] != "http" or scope["method"] != "POST" or not path.startswith(SINGLE):
            await self._slow(scope, receive, send)
            return
        fields: list[tuple[bytes, bytes]] = scope["headers"]
        headers = dict(reversed(fields))  # of several the first, as Starlette has it
        sent = headers.get(b"x-request-id")
        request_id = self._new_id() if sent is None else bodies.plain_id(sent) or self._new_id()
        scope["flightline.request_id"] = request_id
        limit = BATCH_BYTES if path == BATCH else SINGLE_BYTES
        length = headers.get(b"content-length", b"")
        if not _may_be_json(headers.get(b"content-type", b"")) or not _fits(length, limit):
            await self._slow(scope, receive, send)  # which refuses it unread
            return
        message = await receive()
        messages, data = [message], message.get("body", b"")
        if message["type"] != "http.request" or message.get("more_body"):
            messages = await read(message, receive, limit)
            data = b"".join(part.get("body", b"") for part in messages)
            if len(data) > limit or messages[-1].get("more_body") or messages[-1]["type"] != "http.request":
                await self._slow(scope, replay(messages, receive), send)
                return
        if not self._admission.enter():
            await self._refuse(request_id, send)
            return
        try:
            # A header that is given twice means something else to each reader.
            good = len(headers) == len(fields) and path in {SINGLE, BATCH}
            if not good or not await self._answer(scope, headers, data, request_id, send):
                await self._slow(scope, replay(messages, receive), send)
        finally:
            self._admission.leave()

    async def _answer(
        self, scope: "Scope", headers: dict[bytes, bytes], data: bytes, request_id: str, send: "Send"
    ) -> bool:
        """Answer a good request; False: it is not one, and nothing was sent."""
        if headers[b"content-type"] != b"application/json" or b"content-encoding" in headers:
            return False
        plan, caller = self._choose(scope["query_string"], request_id), TaskCaller()
        if plan is None:
            return False
        if scope["path"] == SINGLE:
            waiting = self._reading.one(plan, data, request_id, caller, self._ticks.arrival)
        elif len(data) <= LONG_BYTES:
            waiting = self._reading.many(plan, data, request_id, caller, self._ticks.arrival())
        else:
            arrival = Arrival(datetime.now(UTC), time.perf_counter())
            waiting = await self._ticks.aside(self._reading.long, plan, data, request_id, caller, arrival)
            self._ticks.arrival()  # a run is due, should it be few long rows
        if waiting is None:
            return False
        rows = waiting.count
        note_rows(scope, rows)
        if rows <= INLINE_ROWS:
            self._ticks.add(plan, waiting)
            body = await caller.future
        elif self._admission.enter_rows(rows):
            try:
                self._ticks.add(plan, waiting)
                body = await caller.future
            finally:
                self._admission.leave_rows(rows)
        else:
            await self._refuse(request_id, send)
            return True
        if body is None:
            return False
        fields = [
            *plan.headers,
            (b"content-length", b"%d" % len(body)),
            (b"x-request-id", request_id.encode()),
        ]
        await send_whole(send, 200, fields, body)
        return True

    def _choose(self, query: bytes, request_id: str) -> Plan | None:
        """Of whoever answers; None where the slow way is to say why nobody does."""
        snapshot = self._versions.current
        if snapshot is not self._snapshot:
            self._follow(snapshot)
        if not query and self._usual is not None:
            return self._usual
        named: dict[str, str] = {}
        if query:
            pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
            named = dict(pairs)
            if len(named) < len(pairs) or not named.keys() <= PARAMETERS:
                return None
        try:
            served = snapshot.choose(named.get("model", snapshot.default), named.get("version"), request_id)
        except NotServedError:
            return None
        return self._plan(served)

    def _follow(self, snapshot: Snapshot) -> None:
        """Forget plans of versions that have gone: they must not keep them in memory."""
        self._snapshot = snapshot
        current = {
            id(served.predictor) for model in snapshot.loaded.values() for served in model.versions.values()
        }
        self._plans = {key: plan for key, plan in self._plans.items() if key in current}
        default = snapshot.loaded.get(snapshot.default)
        self._usual = None if default is None or default.split else self._plan(default.default)

    def _plan(self, served: Served) -> Plan:
        predictor = served.predictor
        plan = self._plans.get(id(predictor))
        if plan is None:
            tally = self._metrics.tally(predictor.contract.model, predictor.version)
            plan = self._plans[id(predictor)] = Plan(predictor, tally)
        return plan

    async def _refuse(self, request_id: str, send: "Send") -> None:
        """503: there is too much to answer already."""
        await self._admission.turn()
        self._metrics.refused(503)
        fields = [
            *_REFUSED_FIELDS,
            (b"content-length", b"%d" % len(_REFUSED)),
            (b"x-request-id", request_id.encode()),
        ]
        await send_whole(send, 503, fields, _REFUSED)

    def _refuse_whole(self, caller: Caller, request_id: bytes) -> None:
        """The same without a task."""
        if not caller.disconnected:
            self._metrics.refused(503)
            caller.answer(_REFUSED_LINES, request_id, _REFUSED, 503)

    def _new_id(self) -> str:
        """32 random hexadecimal digits. One call of the operating system serves many requests."""
        if not self._ids:
            text = os.urandom(_ID_BYTES * _IDS).hex()
            width = 2 * _ID_BYTES
            self._ids = [text[start : start + width] for start in range(0, len(text), width)]
        return self._ids.pop()


def _may_be_json(kind: bytes) -> bool:
    """Whether a body of this content type may be read: no spelling of it is a way round the limits."""
    json = b"application/json"
    return kind.startswith(json) or kind.decode("latin-1").strip().lower().startswith(json.decode())


def _fits(length: bytes, limit: int) -> bool:
    """Whether a content length, where there is one, is not over the limit."""
    return len(length) < _SHORT or not length.isdigit() or int(length[:20]) <= limit
