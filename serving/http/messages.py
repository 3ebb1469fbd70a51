"""The hot path's part of ASGI: a body read, read again, or answered, and the task that waits meanwhile."""

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Send


class TaskCaller:
    """An ASGI task that waits for its answer's body; None: the model failed. A `Caller`."""

    __slots__ = ("future",)

    def __init__(self) -> None:
        """Nothing heard yet."""
        self.future: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()

    @property
    def disconnected(self) -> bool:
        """Whether the task has ended meanwhile."""
        return self.future.done()

    def answer(self, fields: bytes, request_id: bytes, body: bytes, status: int = 200) -> None:  # noqa: ARG002 - a Caller's
        """Wake the task with the body."""
        if not self.future.done():
            self.future.set_result(body)

    def give_back(self) -> None:
        """Wake the task with the news."""
        if not self.future.done():
            self.future.set_result(None)


async def read(message: "Message", receive: "Receive", limit: int) -> "list[Message]":
    """`message` and those that follow, up to the end of the body or just over the limit."""
    messages, size = [message], len(message.get("body", b""))
    while message["type"] == "http.request" and message.get("more_body") and size <= limit:
        message = await receive()
        messages.append(message)
        size += len(message.get("body", b""))
    return messages


def replay(messages: "list[Message]", receive: "Receive") -> "Receive":
    """A `receive` that gives `messages` once more before it goes on."""
    left = iter(messages)

    async def again() -> "Message":
        for message in left:
            return message
        return await receive()

    return again


async def send_whole(send: "Send", status: int, fields: list[tuple[bytes, bytes]], body: bytes) -> None:
    """Answer in two messages."""
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})
