"""What an image is built from: a tar archive in which nothing tells where, when or by whom it was made."""

import hashlib
import io
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from contract.bundle import MANIFEST
from contract.release import ATTESTATIONS, BUNDLE, KINDS
from pipelines.delivery.releases import Release

EPOCH = 315532800  # 1980-01-01, the time of every file (s): no clock is part of a layer
SERVING, MODEL = "Dockerfile", "model.Dockerfile"
# All that a server imports of ours; tests/repository/test_imports.py holds it to that.
CODE = ("contract", "serving")
# Scripts that name the interpreter which installed them, and what an installer leaves beside them.
LEFT_OUT = frozenset({"bin", ".lock"})

Entry = tuple[str, Path | bytes]


def code(root: Path) -> list[Entry]:
    """The server's modules below `root`, as they lie in the context."""
    found = (path for name in CODE for path in (root / name).rglob("*.py"))
    inside = "code/opt/flightline/code"
    return [(f"{inside}/{path.relative_to(root).as_posix()}", path.read_bytes()) for path in sorted(found)]


def dependencies(tree: Path) -> list[Entry]:
    """The installed files below `tree`."""
    inside = "dependencies/opt/flightline/site-packages"
    kept = (item for item in tree.iterdir() if item.name not in LEFT_OUT)
    found = (path for item in kept for path in ([item] if item.is_file() else item.rglob("*")))
    return [
        (f"{inside}/{path.relative_to(tree).as_posix()}", path)
        for path in sorted(found)
        if path.is_file() and path.suffix != ".pyc"
    ]


def release(held: Release) -> list[Entry]:
    """The signed release: what its manifest names, and what the trainer attested."""
    names = sorted({MANIFEST, *held.bundle.manifest.files})
    files = [f"{BUNDLE}/{name}" for name in names] + [
        f"{ATTESTATIONS}/{kind}.json" for kind in KINDS.values()
    ]
    return [(f"model/release/{name}", (held.path / name).read_bytes()) for name in files]


def fingerprint(entries: Iterable[Entry], *more: str) -> str:
    """The sha256 of names and contents, in order, and of words beside them."""
    found = hashlib.sha256()
    for name, content in [*entries, *((f"word {number}", word.encode()) for number, word in enumerate(more))]:
        data = content.read_bytes() if isinstance(content, Path) else content
        found.update(f"{name}\0{len(data)}\0".encode() + data)
    return found.hexdigest()


def write(entries: Iterable[Entry], file: IO[bytes]) -> None:
    """Write the archive to `file`: the same entries, the same bytes; folders before what they hold."""
    made: set[str] = set()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in sorted(entries, key=lambda entry: entry[0]):
            for folder in reversed(Path(name).parents[:-1]):
                if folder.as_posix() not in made:
                    made.add(folder.as_posix())
                    archive.addfile(_info(folder.as_posix(), tarfile.DIRTYPE, 0o755))
            data = content.read_bytes() if isinstance(content, Path) else content
            info = _info(name, tarfile.REGTYPE, 0o644)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def _info(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.mtime = kind, mode, EPOCH
    return info
