"""Requests to the hot path and to the application behind it, and what both must have in common."""

import asyncio
import json
import re
from typing import Any

ROW = {"width": 1.5, "height": 0.25, "letter": "A"}
ID = ("x-request-id", "r-1")
JSON = ("content-type", "application/json")
DEADLINE = 20  # seconds


def turned(rows):
    """The same by column."""
    return {name: [row[name] for row in rows] for name in rows[0]}


def batch(rows: int) -> bytes:
    """The body of a batch."""
    return json.dumps({"rows": [ROW] * rows}).encode()


def together(*requests: Any) -> list[Any]:
    """The answers to requests that arrive in one turn of the loop."""

    async def gather() -> list[Any]:
        return await asyncio.wait_for(asyncio.gather(*requests), DEADLINE)

    return asyncio.run(gather())


def alike(hot, slow) -> None:
    """Equal in everything a caller sees; an id of the service's own is another one each time."""
    assert hot.status == slow.status
    own = "x-request-id"
    if hot.headers[own] == slow.headers[own]:
        assert hot.body == slow.body
        assert hot.headers == slow.headers
    else:
        for heard in (hot, slow):
            assert re.fullmatch("[0-9a-f]{32}", heard.headers[own])
        assert hot.body.replace(hot.headers[own].encode(), b"") == slow.body.replace(
            slow.headers[own].encode(), b""
        )
        assert hot.headers | {own: ""} == slow.headers | {own: ""}


def counted(host) -> dict[str, float]:
    """Every sample of the service's own metrics but for those of time."""
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for metric in host.metrics.registry.collect()
        for sample in metric.samples
        if not sample.name.endswith(("_created", "_sum", "_bucket"))
    }


def added(host, before) -> dict[str, float]:
    """What was counted since `before`."""
    now = counted(host)
    return {name: value - before.get(name, 0) for name, value in now.items() if value != before.get(name, 0)}
