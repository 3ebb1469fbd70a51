"""Where the segments of a prediction log lie, and how readers, writers and the compactor share them.

`LOG/MODEL` is a symbolic link to `LOG/.MODEL/N`, a folder that segments are only ever added to. Whoever
replaces or removes segments prepares a folder `N+1` of hard links and new files and turns the link: one step.
So a reader that has resolved the link once sees one state, and its files stay until the folder has been out
of use for a while. A log that is a plain folder, as older versions wrote it, is read and written as it is.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MAGIC = b"PAR1"
SMALLEST = 12  # bytes: the magic word twice, and the length of the footer between them
PATTERN = "*.parquet"
TORN = "torn"  # below `.MODEL`: what was found broken, out of every reader's way


def generations(folder: Path) -> Path:
    """Where the folders lie that the log `folder` (`LOG/MODEL`) may be a link to."""
    return folder.parent / f".{folder.name}"


def current(folder: Path) -> Path | None:
    """The real folder of the log `folder`; None where nothing was ever logged."""
    try:
        return folder.resolve(strict=True)
    except FileNotFoundError:
        # A plain folder is made a generation in two steps: between them, or cut off there, it is the newest.
        return newest(folder)


def newest(folder: Path) -> Path | None:
    """The generation of the log `folder` with the highest number, if there is any."""
    try:
        found = [item for item in generations(folder).iterdir() if item.name.isdecimal()]
    except FileNotFoundError:
        return None
    return max(found, key=lambda item: int(item.name), default=None)


def live_segments(folder: Path) -> list[Path]:
    """Real paths of the whole segments of the log `folder`, oldest first: each row is in exactly one.

    The paths hold for the length of the compactor's grace, whatever happens to the log meanwhile. A segment
    that a power cut left torn is left out; the service reports and moves it when it starts.
    """
    real = current(folder)
    return [] if real is None else sorted(path for path in real.glob(PATTERN) if is_whole(path))


def is_whole(path: Path) -> bool:
    """Whether a Parquet file begins and ends as one, and is as long as its footer says at the least."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if size < SMALLEST:
            return False
        file.seek(-8, os.SEEK_END)
        tail = file.read(8)
        file.seek(0)
        return (
            file.read(4) == MAGIC == tail[4:]
            and 0 < int.from_bytes(tail[:4], "little", signed=True) <= size - SMALLEST
        )


def turn(folder: Path, to: Path) -> None:
    """Make `folder` a link to the generation `to`, in one step; it must be a link or nothing by now."""
    link = generations(folder) / f".link-{os.getpid()}"
    link.unlink(missing_ok=True)
    link.symlink_to(to.relative_to(folder.parent))
    link.replace(folder)


@contextmanager
def shared(folder: Path) -> Iterator[Path]:
    """The real folder of the log `folder`, made if there is none, and kept the current one for the block.

    Raises:
        OSError: the disk refuses.
    """
    while True:
        real = _linked(folder)
        with _locked(real, fcntl.LOCK_SH) as same:
            if same and current(folder) == real:
                yield real
                return


@contextmanager
def exclusive(real: Path) -> Iterator[None]:
    """Keep every writer out of the folder `real` for the block: they wait, and look again where to write."""
    with _locked(real, fcntl.LOCK_EX):
        yield


@contextmanager
def _locked(real: Path, mode: int) -> Iterator[bool]:
    """Hold the lock of the folder; False where it has gone."""
    try:
        handle = os.open(real, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        yield False
        return
    try:
        fcntl.flock(handle, mode)
        yield True
    finally:
        os.close(handle)  # and with it the lock


def _linked(folder: Path) -> Path:
    """The real folder of the log `folder`, linked and made where it is not."""
    try:
        return folder.resolve(strict=True)
    except FileNotFoundError:
        to = newest(folder) or generations(folder) / "0"
        to.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):  # another worker was sooner
            folder.symlink_to(to.relative_to(folder.parent))
        return to.resolve()
