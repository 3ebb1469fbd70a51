"""A port of this machine's loopback that leads into a container which has no network at all.

Each connection is one `docker exec`, whose input and output are the connection itself. So nothing is
published, no network is made, and it works wherever the engine is.
"""

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

PORT = 3000  # of the server in the container
# In the container: wait for the server, then carry bytes both ways until it hangs up.
CARRY = f"""
import os, socket, threading, time
while True:
    try:
        server = socket.create_connection(("127.0.0.1", {PORT}))
        break
    except ConnectionRefusedError:
        time.sleep(0.05)
def send():
    try:
        while data := os.read(0, 65536):
            server.sendall(data)
        server.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # it has hung up: what it said is on its way
threading.Thread(target=send, daemon=True).start()
while data := server.recv(65536):
    while data:
        data = data[os.write(1, data):]
os._exit(0)
"""
STOP_S = 10.0


@contextmanager
def tunnel(container: str) -> Iterator[str]:
    """The URL of the server in the running `container`, for the length of the block."""
    carriers: list[subprocess.Popen[bytes]] = []
    listener = socket.create_server(("127.0.0.1", 0))
    accepting = threading.Thread(target=_accept, args=(listener, container, carriers), daemon=True)
    accepting.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)  # which wakes `accept`
        listener.close()
        accepting.join(STOP_S)
        for carrier in carriers:
            carrier.kill()
            carrier.wait(STOP_S)


def _accept(listener: socket.socket, container: str, carriers: list[subprocess.Popen[bytes]]) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:  # closed: the block has ended
            return
        with connection:
            command = ["docker", "exec", "--interactive", container, "python", "-c", CARRY]
            carriers.append(
                subprocess.Popen(
                    command, stdin=connection.fileno(), stdout=connection.fileno(), stderr=subprocess.DEVNULL
                )
            )
