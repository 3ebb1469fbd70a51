"""What the protocol refuses itself, before there is a request: as traceable and as counted as any other."""

import asyncio
import re
from typing import Any

import pytest

from tests.serving.http.bad_inputs.wire import BODY, HEAD, WIRE
from tests.serving.http.whole_requests import hear

pytestmark = pytest.mark.unit

ID = re.compile(rb"\r\nx-request-id: ([0-9a-f]{32})\r\n")
CHUNKS = WIRE["chunk size in words"].content
HALVES = [CHUNKS[: CHUNKS.index(b"many")], CHUNKS[CHUNKS.index(b"many") :]]  # the head, and the body
REFUSED = {
    "400": WIRE["zeros"].content,
    "405": WIRE["proxy by connect"].content,
    "408": WIRE["half a header"].content,
    "431": WIRE["large header"].content,
}

SECONDS = dict.fromkeys(REFUSED, "10") | {"408": "0.1"}  # for a request to arrive


@pytest.mark.parametrize("offered", [True, False])
@pytest.mark.parametrize("status", REFUSED)
def test_each_has_an_id_of_its_own(both, status, offered) -> None:
    """A new one each time, as 32 hexadecimal digits, whatever stands behind the protocol."""
    said = [
        asyncio.run(hear(both, [REFUSED[status]], offered=offered, seconds=SECONDS[status])) for _ in range(2)
    ]
    assert all(one.startswith(f"HTTP/1.1 {status} ".encode()) for one in said)
    found = [ID.findall(one) for one in said]
    assert [len(ids) for ids in found] == [1, 1]
    assert found[0] != found[1]


def counted(host: Any) -> dict[str, float]:
    """How many refusals there were of each status."""
    host.metrics.flush()
    return {
        sample.labels["status"]: sample.value
        for metric in host.metrics.registry.collect()
        for sample in metric.samples
        if sample.name == "flightline_refused_requests_total"
    }


@pytest.mark.parametrize("status", REFUSED)
def test_each_is_counted_by_its_status(both, status) -> None:
    """Beside the refusals of the application."""
    asyncio.run(hear(both, [REFUSED[status]], seconds=SECONDS[status]))
    assert counted(both.host) == {status: 1}


@pytest.mark.parametrize(
    ("parts", "status"),
    [([HEAD], 408), ([HEAD, BODY[:10]], 408), ([CHUNKS], 400), (HALVES, 400)],
)
def test_what_the_application_has_begun_to_read_is_counted_once(both, parts, status) -> None:
    """It sees that the rest never comes, and the protocol leaves the counting to it."""
    said = asyncio.run(hear(both, parts, answers=2, seconds="0.1"))
    assert said.startswith(f"HTTP/1.1 {status} ".encode())
    assert sum(counted(both.host).values()) == 1
