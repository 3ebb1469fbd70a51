"""Which workers live: each holds a lock on a file of its own, which the kernel takes back when it dies."""

import fcntl
import os
from pathlib import Path
from typing import IO

WORKERS = "workers"


class Presence:
    """This process, counted among the workers of a state folder until `end` or its death."""

    def __init__(self, folder: Path, worker: str) -> None:
        """Prepare; nothing is written before `begin`."""
        self._path = folder / WORKERS / worker
        self._file: IO[str] | None = None

    def begin(self) -> None:
        """Be counted from now on."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        while self._file is None:
            file = self._path.open("a")
            fcntl.flock(file, fcntl.LOCK_EX)
            if _same(file, self._path):  # else somebody took it for a dead one's and removed it
                self._file = file
            else:
                file.close()

    def end(self) -> None:
        """Be counted no more."""
        if self._file is not None:
            self._path.unlink(missing_ok=True)
            self._file.close()
            self._file = None


def live_workers(folder: Path) -> set[str]:
    """The workers of a state folder that live, ready or not; what dead ones left is removed."""
    found = set()
    for path in sorted((folder / WORKERS).glob("*")):
        try:
            file = path.open("r+")  # which does not make it again
        except FileNotFoundError:
            continue
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                found.add(path.name)
            else:
                if _same(file, path):
                    path.unlink(missing_ok=True)
    return found


def _same(file: IO[str], path: Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    return os.fstat(file.fileno()).st_ino == there.st_ino
