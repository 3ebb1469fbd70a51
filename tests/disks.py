"""A disk of its own for a process, small enough to be full: a file system that nobody else sees."""

import errno
import os
import subprocess
from pathlib import Path


def namespaces() -> bool:
    """Whether a process may mount a file system of its own here."""
    done = subprocess.run(
        ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False
    )
    return done.returncode == 0


def mounting(folder: Path, kept: Path, mebibytes: int) -> str:
    """The words of a shell that make `folder` a disk of that size, with what `kept` holds on it."""
    return f"mount -t tmpfs -o size={mebibytes}m tmpfs {folder} && cp -a {kept}/. {folder}"


def seen(pid: int, folder: Path) -> Path:
    """The `folder` of the process `pid`, for whoever has another disk there."""
    return Path(f"/proc/{pid}/root{folder}")


def fill(path: Path) -> None:
    """Add to the file `path` until there is no room."""
    with path.open("ab", buffering=0) as file:
        for size in (4096, 1):
            while _wrote(file.fileno(), size):
                pass


def _wrote(handle: int, size: int) -> bool:
    """Whether there was room for so many bytes more."""
    try:
        return bool(os.write(handle, b"x" * size))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False
