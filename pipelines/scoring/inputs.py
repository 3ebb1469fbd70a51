"""Which files are scored, and what tells one from another."""

import glob
import hashlib
from dataclasses import dataclass
from pathlib import Path

from contract.errors import FlightlineError

SUFFIX = ".parquet"
_CHUNK = 1024 * 1024


@dataclass(frozen=True)
class Input:
    """One file to score."""

    path: Path
    name: str  # its path below the folder that was given, which names its output
    state: tuple[int, int, int]  # inode, time of change in ns, bytes: what changes when somebody writes it


def find_inputs(given: str) -> list[Input]:
    """The Parquet files of a file, a folder (with those below it) or a glob, in the order of their names.

    Raises:
        FlightlineError: there is none, or two would have one name.
    """
    path = Path(given)
    if path.is_dir():
        root = path
        found = [item for item in path.rglob(f"*{SUFFIX}") if not _hidden(item.relative_to(path))]
    elif path.is_file():
        root, found = path.parent, [path]
    else:
        found = [Path(name) for name in glob.glob(given, recursive=True) if Path(name).is_file()]  # noqa: PTH207 - an absolute pattern, too
        root = Path(_common(found)) if found else path
    if not found:
        raise FlightlineError(
            f"there is no Parquet file at {given}", "a file, a folder or a glob", "Correct --input"
        )
    made = []
    for item in sorted(found):
        status = item.stat()
        name = item.relative_to(root).as_posix().removesuffix(SUFFIX)
        made.append(Input(item, name, (status.st_ino, status.st_mtime_ns, status.st_size)))
    return made


def sha256_of(item: Input) -> str:
    """Hex sha256 of the file's bytes, read piece by piece."""
    total = hashlib.sha256()
    with item.path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            total.update(chunk)
    return total.hexdigest()


def require_unchanged(item: Input) -> None:
    """Refuse a file that somebody has written since it was found.

    Raises:
        FlightlineError: it was.
    """
    status = item.path.stat()
    if (status.st_ino, status.st_mtime_ns, status.st_size) != item.state:
        raise FlightlineError(
            f"{item.path} was changed while it was scored", "a file that is complete", "Run this again"
        )


def _hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)


def _common(paths: list[Path]) -> str:
    import os

    return os.path.commonpath([path.parent for path in paths])
