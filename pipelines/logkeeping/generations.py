"""One step from a log with some segments to the same log with others, as `contract.segments` lays it out."""

import os
import shutil
import time
from collections.abc import Collection
from pathlib import Path

from contract.errors import FlightlineError
from contract.segments import PATTERN, current, exclusive, generations, newest, turn
from pipelines.machine.files import sync

GRACE_S = 600.0  # how long a replaced folder stays for those who have found their files in it


def adopt(folder: Path) -> Path:
    """The real folder of the log; a plain folder, as older versions wrote it, becomes one.

    Raises:
        FlightlineError: there is no such log.
    """
    real = current(folder)
    if real is None:
        raise FlightlineError(
            f"there is no prediction log in {folder}",
            "the log of a model that was served",
            "Correct its name",
        )
    if real == folder.absolute() and not folder.is_symlink():
        last = newest(folder)
        to = generations(folder) / (str(int(last.name) + 1) if last else "0")
        to.parent.mkdir(exist_ok=True)
        with exclusive(real):  # whoever finds the folder gone takes the newest generation, which is this one
            real.rename(to)
            turn(folder, to)
    elif not folder.is_symlink():  # cut off between the two steps
        turn(folder, real)
    return folder.resolve()


def advance(folder: Path, part: Path, gone: Collection[Path]) -> None:
    """Make `part`, a folder beside the generations with new segments, the log, with all others but `gone`.

    Writers wait while the rest is linked, milliseconds; readers have the old folder or the new one.

    Raises:
        OSError: the disk refuses; the log is as it was.
    """
    real = folder.resolve(strict=True)
    dropped = {path.name for path in gone}
    status = real.stat()
    part.chmod(status.st_mode & 0o7777)
    if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
        os.chown(part, status.st_uid, status.st_gid)  # else the service could no longer write there
    for path in part.iterdir():
        sync(path)
    with exclusive(real):
        for path in real.glob(PATTERN):
            if path.name not in dropped:
                (part / path.name).hardlink_to(path)
        sync(part)
        to = real.with_name(str(int(real.name) + 1))
        part.rename(to)
        os.utime(real)  # its grace begins
        turn(folder, to)
    sync(folder.parent)


def sweep(folder: Path, grace_s: float = GRACE_S) -> int:
    """Remove the folders that a kill left half made, and those out of use for `grace_s` seconds; how many.

    The caller holds the log's lock: whatever is newer than the link is then nobody's.
    """
    real = folder.resolve(strict=True)
    removed = 0
    for item in sorted(generations(folder).iterdir()):
        if item.name.startswith(".part-"):
            half = True
        elif item.name.isdecimal() and item != real:
            half = int(item.name) > int(real.name)
        else:
            continue
        if half or time.time() - item.stat().st_mtime >= grace_s:
            shutil.rmtree(item)
            removed += 1
    return removed
