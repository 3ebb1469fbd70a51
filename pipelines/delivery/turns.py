"""One change of an environment at a time: its service, lines in the ledger and alias change together."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from contract.locks import exclusive
from pipelines.machine.settings import Settings

LOCK_S = 600.0  # who comes second waits for a rollout to end, then decides on what is live by then


@contextmanager
def changing(environment: str, settings: Settings) -> Iterator[None]:
    """Hold the lock of `environment`; the kernel gives it back when its holder ends, however that is."""
    with exclusive(_path(environment, settings), f"change of {environment}", LOCK_S):
        yield


def being_changed(environment: str, settings: Settings) -> bool:
    """Whether somebody holds that lock now."""
    path = _path(environment, settings)
    if not path.exists():
        return False
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: who looks is in nobody's way who looks
        except BlockingIOError:
            return True
    return False


def _path(environment: str, settings: Settings) -> Path:
    return settings.var / "environments" / environment / ".lock"
