"""Segments on the disk: written whole or not at all, and what a crash left behind when the service starts."""

import fcntl
import logging
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from contract.segments import PATTERN, TORN, current, generations, is_whole, shared
from serving.recording.columns import Part

logger = logging.getLogger(__name__)

TEMPORARY = ".tmp"
# Of one call at the most: some pages where others have turns in between. Linux takes up to 1,024 parts.
_SHORT_BYTES, _LONG_BYTES, _CALL_PARTS = 64 * 1024, 1024 * 1024, 1_000
_REST_SECONDS = 0.00005


def publish(folder: Path, name: str, parts: Sequence[Part], *, sync: bool, rest: bool = False) -> Path:
    """Put `parts` into the log `folder` as the segment `name`; readers see all of it or nothing. Its path.

    With `sync` it is on the disk, name and all, when this returns; with `rest` others have turns in between.

    Raises:
        OSError: the disk refuses; nothing is left there.
    """
    with shared(folder) as real:
        temporary = real / f".{name}{TEMPORARY}"
        with temporary.open("wb", buffering=0) as file:
            # Whoever starts meanwhile tells by this lock that the file is being written.
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                _write(file.fileno(), parts, rest=rest)
                if sync:
                    os.fsync(file.fileno())
                temporary.replace(real / name)
            finally:
                temporary.unlink(missing_ok=True)
        if sync:
            sync_path(real)
    return real / name


def _write(handle: int, parts: Sequence[Part], *, rest: bool = False) -> None:
    """In few calls, or with a rest after each of many.

    Without rests the scheduler leaves the core to whoever writes for a millisecond, and a service that has
    one core answers nobody meanwhile.
    """
    for piece in _pieces(parts, _SHORT_BYTES if rest else _LONG_BYTES):
        left = deque(piece)
        while left:  # a disk that has little room left takes a part
            done = os.writev(handle, left)
            while left and done >= len(left[0]):
                done -= len(left.popleft())
            if done:
                left[0] = left[0][done:]
        if rest:
            time.sleep(_REST_SECONDS)


def _pieces(parts: Sequence[Part], most: int) -> Iterator[list[memoryview]]:
    """The parts, cut and put together to what one call is given."""
    piece, room = list[memoryview](), most
    for view in (memoryview(part) for part in parts if part):
        start = 0
        while start < len(view):
            some = view[start : start + room]
            piece.append(some)
            start, room = start + len(some), room - len(some)
            if not room or len(piece) == _CALL_PARTS:
                yield piece
                piece, room = [], most
    if piece:
        yield piece


def sync_path(path: Path) -> None:
    """Have a file or folder on the disk; one that a compaction has replaced meanwhile is there already.

    Raises:
        OSError: the disk refuses.
    """
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def recover(log: Path) -> int:
    """Clear every model's folder in `log` of what a crash left; how many segments were torn.

    A temporary file that nobody is writing was cut off by a kill and is removed: its rows are lost, at most
    those of the last interval. A segment without an end, as a power cut leaves it, is kept in `.MODEL/torn`.
    """
    found = 0
    try:
        folders = sorted({item.name.lstrip(".") for item in log.iterdir() if item.is_dir()})
    except FileNotFoundError:
        return 0
    for name in folders:
        real = current(log / name)
        if real is None:
            continue
        for path in sorted(real.glob(f".*{TEMPORARY}")):
            found += _abandoned(path)
        for path in sorted(real.glob(PATTERN)):
            found += _torn(path, generations(log / name) / TORN)
    return found


def _abandoned(path: Path) -> bool:
    """Remove the temporary file unless somebody is writing it."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            size = os.fstat(file.fileno()).st_size
            path.unlink()
    except (BlockingIOError, FileNotFoundError):  # a living worker's
        return False
    logger.warning(
        "%s (%d bytes) was being written when its service was killed; it is removed, and with it at most "
        "the rows of one interval",
        path,
        size,
    )
    return True


def _torn(path: Path, aside: Path) -> bool:
    """Move the segment out of the way if it is not whole."""
    try:
        if is_whole(path):
            return False
        aside.mkdir(parents=True, exist_ok=True)
        path.replace(aside / path.name)
    except FileNotFoundError:  # another worker was sooner
        return False
    logger.warning("%s has no whole end, as after a power cut; it is moved to %s", path, aside)
    return True
