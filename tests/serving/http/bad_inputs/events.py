"""Events that are none, and bodies that hold none: /events takes all of a request or nothing."""

import json
from typing import Any

from serving.http.bodies import BATCH_BYTES
from serving.http.events import EVENTS, FACTS, LARGEST
from tests.serving.http.bad_inputs.form import Bad, asked, body, text

URL = {"url": "/events"}
HUGE = LARGEST * 10
SALE: dict[str, Any] = {
    "id": "s0",
    "stream": "sales",
    "at": "2013-01-01T11:59:00+00:00",
    "facts": {"letter": "A", "pieces": 1},
}


GOOD = json.dumps({"events": [SALE]})


def unread(kind: str, content: bytes = GOOD.encode()) -> Bad:
    """A body whose type says enough."""
    return Bad(content, 415, "content-type", headers={"content-type": kind}, **URL)


def event(value: object, field: str = "events[0]") -> Bad:
    """A wrong event before a right one."""
    return body({"events": [value, SALE | {"id": "s1"}]}, field, **URL)


def part(field: str, **change: Any) -> Bad:
    """A sale with another part; `field` is below the event."""
    return event(SALE | change, f"events[0]{field}")


def facts(field: str = "", **change: Any) -> Bad:
    """A sale with other facts."""
    return part(field, facts=SALE["facts"] | change)


def without(name: str) -> Bad:
    """A sale that lacks a part."""
    return event({key: value for key, value in SALE.items() if key != name})


CASES = {
    "event that is a word": event("sale"),
    "event that is null": event(None),
    "event that is an array": event([1]),
    "event that is empty": event({}),
    **{f"event without its {name}": without(name) for name in SALE},
    "event with an unknown part": part("", extra=1),
    "event with a misspelt part": event({"id": "s0", "stream": "sales", "at": SALE["at"], "fact": {}}),
    "event whose id is a number": part("", id=1),
    "event whose id is empty": part(".id", id=""),
    "event whose id is long": part(".id", id="x" * 201),
    "stream that is empty": part(".stream", stream=""),
    "stream that nobody reads": part("", stream="sale"),
    "stream that is long": part(".stream", stream="x" * 201),
    "event without an offset": part(".at", at="2013-01-01T00:00:00"),
    "event at no moment": part(".at", at="yesterday"),
    "event whose moment is a number": part("", at=1357000000),
    "event before 1970": part(".at", at="1969-12-31T23:59:59Z"),
    "event after 2200": part(".at", at="2201-01-01T00:00:00Z"),
    "facts that are an array": part("", facts=[]),
    "facts that are null": part("", facts=None),
    "fact that is an array": facts(pieces=[1]),
    "fact that is an object": facts(pieces={"n": 1}),
    "fact that is true": facts(pieces=True),
    "fact with a fraction": facts(pieces=0.5),
    "fact in a string": facts(pieces="2"),
    "fact that is huge": facts(".facts.pieces", pieces=HUGE),
    "fact that is huge below zero": facts(".facts.pieces", pieces=-HUGE),
    "fact beyond 64 bits": facts(".facts.pieces", pieces=10**40),
    "fact that is absent": part("", facts={"letter": "A"}),
    "key that is absent": part("", facts={"pieces": 1}),
    "key with a fraction": facts(letter=1.5),
    "key that is true": facts(letter=True),
    "key that is long": facts(".facts.letter", letter="A" * 201),
    "more facts than an event has": part(".facts", facts={f"f{n}": n for n in range(FACTS + 1)}),
    "fact twice": text(
        GOOD.replace('"pieces": 1', '"pieces": 1, "pieces": 2'),
        "pieces",
        422,
        **URL,
    ),
    "event id twice": text(GOOD.replace('"id": "s0"', '"id": "s0", "id": "s1"'), "id", 422, **URL),
    "events twice": text('{"events": [], "events": []}', "events", 422, **URL),
    "events in an array": body([SALE], **URL),
    "no events key": body({}, **URL),
    "misspelt events key": body({"event": [SALE]}, **URL),
    "events in an object": body({"events": SALE}, **URL),
    "events that are null": body({"events": None}, **URL),
    "extra key beside events": body({"events": [SALE], "sync": True}, **URL),
    "no events": body({"events": []}, "events", **URL),
    "too many events": body({"events": [1] * (EVENTS + 1)}, "events", **URL),
    "events cut off": text('{"events": [1]', **URL),
    "event of nan": text('{"events": [{"id": NaN}]}', **URL),
    "events nested deeply": text(b"[" * 5000, **URL),
    "events in bad utf-8": text(b'{"events": ["\xff"]}', **URL),
    "large body of events": Bad(b" " * (BATCH_BYTES + 1), 413, "body", **URL),
    "pickle of events": unread("application/x-pickle", b"\x80\x04"),
    "events without a type": unread(""),
    "events for a model": body({"events": [SALE]}, "model", url="/events?model=shop"),
    "get events": asked("/events", 405, "method"),
    "delete events": asked("/events", 405, "method", "DELETE"),
    "an event by its path": asked("/events/s0", 404, "path"),
}
