"""Good bodies, from bytes to rows that wait for their answer. What is not good is the slow way's to judge."""

from collections.abc import Callable
from datetime import datetime

import numpy as np
from msgspec.structs import astuple

from serving.http import bodies
from serving.http.admission import INLINE_ROWS
from serving.http.bodies import RefusedError
from serving.http.compiled import Columns, Plan, Row
from serving.http.decoders import Decode, all_once
from serving.http.waiting import Arrival, Waiting
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
        body = plan.decoders.one(data)
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

    def many(
        self, plan: Plan, data: bytes, request_id: str, caller: Caller, arrival: Arrival
    ) -> Waiting | None:
        """A batch, where it is perfectly good."""
        decoders = plan.decoders
        read = self._batch(plan, data, arrival, decoders.many, decoders.columns)
        if read is None:
            return None
        rows, columns, entities, moments = read
        waiting = Waiting(arrival, rows, len(moments), False, request_id, entities, moments, caller)
        if columns is not None and waiting.count <= INLINE_ROWS:
            waiting.rows = plan.rows_of(columns)
        elif columns is not None:
            waiting.packed = plan.pack_columns(columns)
        return waiting

    def long(
        self, plan: Plan, data: bytes, request_id: str, caller: Caller, arrival: Arrival
    ) -> Waiting | None:
        """The same of a long body, packed at once: what it was decoded into is in the processor's cache."""
        decoders = plan.decoders
        read = self._batch(plan, data, arrival, decoders.long_many, decoders.long_columns)
        if read is None:
            return None
        rows, columns, entities, moments = read
        if len(moments) <= INLINE_ROWS:  # of long texts
            return self.many(plan, data, request_id, caller, arrival)
        with np.errstate(over="ignore"):  # what is too large for the graph is refused when it is judged
            packed = plan.pack_long(rows) if columns is None else plan.pack_columns(columns)
        odd = plan.oddities.judged(packed)
        if odd is None:
            return None
        waiting = Waiting(arrival, [], len(moments), False, request_id, entities, moments, caller)
        waiting.packed, waiting.odd = packed, odd
        return waiting

    def _batch(
        self, plan: Plan, data: bytes, arrival: Arrival, many: Decode, by_column: Decode
    ) -> tuple[list[Row], Columns | None, list[str | None], list[datetime]] | None:
        """Its rows, or its columns in their place; the id and the moment of each."""
        body, columns = many(data), None
        if body is None:
            body = by_column(data)
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
        return rows, columns, ids or [None] * count, moments

    def _moments(self, at: list[str], arrival: Arrival) -> list[datetime] | None:
        """Those that the caller names, where this environment's clock allows it."""
        try:
            return [bodies.check_moment(one, "at", self._clock, arrival.at) for one in at]
        except RefusedError:
            return None
