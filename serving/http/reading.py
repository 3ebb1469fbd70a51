"""Good bodies, from bytes to rows that wait for their answer. What is not good is the slow way's to judge."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import astuple

from serving.http import bodies
from serving.http.admission import INLINE_ROWS
from serving.http.bodies import RefusedError
from serving.http.compiled import Plan, all_once
from serving.http.ticks import Arrival, Waiting
from serving.http.whole import Caller


class Reading:
    """Reads bodies where the moments that callers name are those of one clock."""

    def __init__(self, clock: str) -> None:
        """`clock`, as the settings have it."""
        self._clock = clock

    def one(
        self, plan: Plan, data: bytes, request_id: str, caller: Caller, arrive: Callable[[], Arrival]
    ) -> Waiting | None:
        """A request for one row, where it is perfectly good, which has arrived when that is known."""
        body = _decoded(plan.decode_one, data)
        if body is None:
            return None
        entity, at = body.id, body.at
        if not all_once(data, 1 + plan.width + (entity is not None) + (at is not None)):
            return None
        arrival = arrive()
        moments = [arrival.at] if at is None else self._moments([at], arrival)
        if moments is None:
            return None
        return Waiting(arrival, [body.row], 1, True, request_id, [entity], moments, caller)

    def packed(
        self, plan: Plan, data: bytes, request_id: str, caller: Caller, arrival: Arrival
    ) -> Waiting | None:
        """A long batch, packed at once: what it was decoded into is in the processor's cache."""
        waiting = self.many(plan, data, request_id, caller, arrival)
        if waiting is not None and waiting.count > INLINE_ROWS and waiting.packed is None:
            waiting.packed, waiting.rows = plan.pack(waiting.rows), []
        return waiting

    def many(
        self, plan: Plan, data: bytes, request_id: str, caller: Caller, arrival: Arrival
    ) -> Waiting | None:
        """A batch, where it is perfectly good."""
        body = _decoded(plan.decode_many, data)
        columns = None
        if body is None:
            body = _decoded(plan.decode_columns, data)
            if body is None:
                return None
            columns = astuple(body.columns)
            rows, count = [], len(columns[0])
            if any(len(values) != count for values in columns):
                return None
        else:
            rows, count = body.rows, len(body.rows)
        ids, at = body.ids, body.at
        if any(given is not None and len(given) != count for given in (ids, at)):
            return None
        keys = plan.width * (count if columns is None else 1)
        if not all_once(data, 1 + keys + (ids is not None) + (at is not None)):
            return None
        moments = [arrival.at] * count if at is None else self._moments(at, arrival)
        if moments is None:
            return None
        packed = None
        if columns is not None and count > INLINE_ROWS:
            packed = plan.pack_columns(columns)
        elif columns is not None:
            rows = plan.rows_of(columns)
        entities = ids or [None] * count
        return Waiting(arrival, rows, count, False, request_id, entities, moments, caller, packed=packed)

    def _moments(self, at: list[str], arrival: Arrival) -> list[datetime] | None:
        """Those that the caller names, where this environment's clock allows it."""
        try:
            return [bodies.check_moment(one, "at", self._clock, arrival.at) for one in at]
        except RefusedError:
            return None


def _decoded(decode: Callable[[bytes], Any], data: bytes) -> Any:
    """The body, or None where it is not perfectly good."""
    # No category may hold NUL, which is cheaper to see here than in each.
    if b"\\" in data and b"\\u0000" in data:
        return None
    try:
        return decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
