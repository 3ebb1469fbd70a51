"""The admin API of a service: in threads of whichever of its processes holds the lock."""

import fcntl
import logging
import threading
from pathlib import Path
from typing import IO, Any

import msgspec

from contract.errors import FlightlineError
from contract.strict import encode_json
from serving.admin.http_server import REQUEST_S, AdminServer
from serving.admin.token import ensure_token
from serving.models.desired import replace_file

logger = logging.getLogger(__name__)

ADDRESS, LOCK = "admin.json", ".admin.lock"
RETRY_S = 0.5


class Address(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the admin API listens."""

    port: int


class Admin:
    """Serves the admin API of a state folder, once no other process of the service does.

    The workers of one service agree by a file lock who serves it; when that one ends, another takes over.
    """

    def __init__(self, state: Path, port: int | None, request_s: float = REQUEST_S) -> None:
        """`port` 0 takes a free one; with None there is no API. A request has `request_s` to arrive."""
        self._state, self._port, self._request_s = state, port, request_s
        self._lock: IO[str] | None = None
        self._server: AdminServer | None = None
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Serve in threads of this process, now or when the present holder ends.

        Raises:
            FlightlineError: the port is taken by another program, or the token file is not safe.
        """
        if self._port is not None and not self._take():
            self._run(self._await_lock, "admin-waiting")

    def close(self) -> None:
        """Stop; a call that still waits is cut off, and may be made again."""
        self._closing.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            (self._state / ADDRESS).unlink(missing_ok=True)
        for thread in self._threads:
            thread.join()
        if self._lock is not None:
            self._lock.close()

    def _take(self) -> bool:
        """Serve, unless another process does."""
        self._state.mkdir(parents=True, exist_ok=True)
        lock = (self._state / LOCK).open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            token = ensure_token(self._state)
            self._server = AdminServer(self._port or 0, self._state, token, self._request_s)
        except BlockingIOError:
            lock.close()
            return False
        except BaseException:
            lock.close()
            raise
        self._lock = lock
        address = Address(port=self._server.server_address[1])
        replace_file(self._state / ADDRESS, encode_json(address))
        self._run(self._server.serve_forever, "admin")
        return True

    def _await_lock(self) -> None:
        told = ""
        while not self._closing.wait(RETRY_S):
            try:
                if self._take():
                    return
            except FlightlineError as error:
                if str(error) != told:
                    logger.warning("%s", error)
                told = str(error)

    def _run(self, target: Any, name: str) -> None:
        self._threads.append(threading.Thread(target=target, name=name, daemon=True))
        self._threads[-1].start()
