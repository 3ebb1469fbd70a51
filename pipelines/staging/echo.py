"""A bare HTTP echo on loopback: what this machine and the load generator can do without any service.

Run by its path in an interpreter of its own, without the repository: it prints its port and lives until its
standard input ends, so that it cannot outlive whoever started it.
"""

import asyncio
import sys

HEAD_END = b"\r\n\r\n"
LENGTH = b"content-length: "


class Echo(asyncio.Protocol):
    """Answer each request with as many bytes as an answer of the service has."""

    def __init__(self, answer: bytes) -> None:
        """Hold what is answered."""
        self._answer = answer
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every whole request that has come."""
        self._buffer += data
        while True:
            head = self._buffer.find(HEAD_END)
            if head < 0:
                return
            start = self._buffer.lower().find(LENGTH, 0, head)
            length = 0
            if start >= 0:
                length = int(self._buffer[start + len(LENGTH) : head].split(b"\r\n", 1)[0])
            whole = head + len(HEAD_END) + length
            if len(self._buffer) < whole:
                return
            self._buffer = self._buffer[whole:]
            self._transport.write(self._answer)  # type: ignore[attr-defined]  # a socket's transport


async def serve(body: bytes) -> None:
    """Listen on a free port until standard input ends."""
    answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Echo(answer % (len(body), body)), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    ended = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ended.set)  # nothing is ever written: readable means that it ended
    await ended.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(serve(b"x" * int(sys.argv[1])))
