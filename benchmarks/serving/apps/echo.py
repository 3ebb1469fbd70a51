"""The limit: an ASGI application that reads a body and answers constant bytes, on the same server stack."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

ANSWER = b'{"prediction":"on_time","scores":{"on_time":0.5470,"late":0.4530},"model":"flights","version":"1"}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))]


async def app(scope: "Scope", receive: "Receive", send: "Send") -> None:
    """Answer any request."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": ANSWER})
