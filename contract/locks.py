"""One at a time: an exclusive lock on a file, released by the kernel when its holder ends."""

import fcntl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from contract.errors import FlightlineError

LOOK_S = 0.02


@contextmanager
def exclusive(
    path: Path, what: str, wait_s: float = 60.0, refusal: type[FlightlineError] = FlightlineError
) -> Iterator[None]:
    """Hold the lock file `path` for the length of the block; `what` names the work in a refusal.

    Raises:
        FlightlineError: of the kind `refusal`: another process still holds it after `wait_s` seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + wait_s
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise refusal(
                        f"another {what} has been under way for over {wait_s:.0f} s",
                        "one at a time",
                        "Wait for it to end and ask again",
                    ) from None
                threading.Event().wait(LOOK_S)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)
