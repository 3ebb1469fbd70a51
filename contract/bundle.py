"""The model bundle: what training hands over, and the check that it arrived whole."""

import errno
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from contract.errors import BundleError, ConfigError
from contract.schema import Contract
from contract.strict import decode_json, encode_json

MANIFEST = "manifest.json"
FILES = (
    "model.onnx",
    "contract.json",
    "reference.parquet",
    "golden.json",
    "environment.json",
    "evidence.json",
    "model_card.md",
)
# The most bytes that are read of a file: whoever sends a bundle does not choose how much memory we take.
LARGE = 1024**3
SMALL = 16 * 1024**2
LIMITS = {"model.onnx": LARGE, "reference.parquet": LARGE}


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The sha256 of every file of a bundle. The sha256 of its own bytes is the bundle's digest."""

    model: str
    contract: str  # the contract's fingerprint
    files: dict[str, str]


class GoldenRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An input with the output that training saw: the answer every server must give again."""

    row: dict[str, float | str | None]  # feature name to value; None is missing
    label: str
    scores: tuple[float, ...]  # in the order of the contract's classes


class Golden(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Golden rows and how far a score may be from what training saw."""

    tolerance: float
    rows: tuple[GoldenRow, ...]


class Environment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a model came from: whatever is needed to build it again or to judge a runtime."""

    python: str
    libraries: dict[str, str]  # locked version of each library that training and serving share
    trained_with: dict[str, str]  # versions of training's own libraries
    seed: int
    as_of: str  # ISO 8601 UTC; nothing that arrived later was used
    fit_until: str  # ISO 8601 UTC; end of the last row that fitting or early stopping saw
    params: str  # sha256 of the parameters
    data: str  # sha256 over the split tables
    held_out: str  # sha256 of the held-out table


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk whose every file was found to be what the manifest says."""

    path: Path
    digest: str
    manifest: Manifest
    contract: Contract
    golden: Golden
    environment: Environment

    @property
    def model(self) -> str:
        """The name of the model."""
        return self.contract.model

    def read(self, name: str) -> bytes:
        """The bytes of one file, which are hashed again: a file may have changed since the bundle was opened.

        Raises:
            BundleError: they are not what the manifest says.
        """
        return _verified(self.path, name, self.manifest)


def seal(path: Path, contract: Contract) -> str:
    """Write `manifest.json` into the folder `path` and return the bundle's digest (hex sha256).

    Raises:
        BundleError: a file is missing, or is none.
    """
    missing = [name for name in FILES if not (path / name).is_file()]
    if missing:
        raise BundleError(
            f"{path} lacks {', '.join(missing)}", "every file of a bundle", "Run the package stage again"
        )
    files = {name: _sha256(_read(path, name)) for name in FILES}
    manifest = Manifest(model=contract.model, contract=contract.fingerprint, files=files)
    data = encode_json(manifest)
    (path / MANIFEST).write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def open_bundle(path: Path, digest: str | None = None) -> Bundle:
    """Verify the bundle in the folder `path`, byte for byte, and return it.

    `digest` is the hex sha256 the caller expects, for example from the registry.

    Raises:
        BundleError: a file is missing, was added or was changed, or the bundle is another one.
    """
    manifest_bytes = _read(path, MANIFEST)
    found = _sha256(manifest_bytes)
    if digest is not None and found != digest:
        raise _changed(path, f"has digest {found[:12]}", f"digest {digest[:12]}")
    manifest: Manifest = _decode(manifest_bytes, Manifest, MANIFEST)
    _exactly(path, "has a manifest", {MANIFEST, *manifest.files})
    _exactly(path, "is a folder", {item.name for item in path.iterdir()})
    # Of the small files the very bytes that were hashed are decoded; of the large ones none are kept.
    kept = {}
    for name in sorted(FILES):
        data = _verified(path, name, manifest)
        if name not in LIMITS:
            kept[name] = data
    contract: Contract = _decode(kept["contract.json"], Contract, "contract.json")
    if contract.fingerprint != manifest.contract or contract.model != manifest.model:
        raise _changed(path, "has a contract of another fingerprint", "the contract of its manifest")
    return Bundle(
        path=path,
        digest=found,
        manifest=manifest,
        contract=contract,
        golden=_decode(kept["golden.json"], Golden, "golden.json"),
        environment=_decode(kept["environment.json"], Environment, "environment.json"),
    )


def read_file(path: Path, limit: int) -> bytes:
    """The bytes of a regular file of at most `limit` bytes; links are not followed.

    Raises:
        BundleError: it is something else, larger, or cannot be read.
    """
    try:
        # O_NONBLOCK: opening a pipe would wait for its other end.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise _unreadable(path, "it is no file")
            if status.st_size > limit:
                raise _unreadable(path, f"it has {status.st_size} bytes, more than {limit}")
            data = file.read(status.st_size + 1)
    except OSError as error:
        reason = "it is a symbolic link" if error.errno == errno.ELOOP else error.strerror
        raise _unreadable(path, reason or "unknown") from None
    if len(data) > status.st_size:
        raise _unreadable(path, "it grew meanwhile")
    return data


def _read(path: Path, name: str) -> bytes:
    return read_file(path / name, LIMITS.get(name, SMALL))


def _verified(path: Path, name: str, manifest: Manifest) -> bytes:
    data = _read(path, name)
    if _sha256(data) != manifest.files[name]:
        raise _changed(path, f"has a changed {name}", "the file named in its manifest")
    return data


def _exactly(path: Path, what: str, names: set[str]) -> None:
    """Refuse any names but those of a bundle; thereby none can lead out of its folder."""
    extra, absent = sorted(names - {MANIFEST, *FILES}), sorted({MANIFEST, *FILES} - names)
    if extra or absent:
        parts = [f"holds {', '.join(name[:80] for name in extra[:3])}"] if extra else []
        parts += [f"lacks {', '.join(absent)}"] if absent else []
        raise _changed(path, f"{what} that {' and '.join(parts)}", "exactly the files of a bundle")


def _decode(data: bytes, into: type[Any], name: str) -> Any:
    try:
        return decode_json(data, into, name)
    except ConfigError as error:
        raise BundleError(error.found, error.expected, "Fetch the bundle again") from None


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _changed(path: Path, found: str, expected: str) -> BundleError:
    return BundleError(f"the bundle in {path} {found}", expected, "Fetch it again from the registry")


def _unreadable(path: Path, reason: str) -> BundleError:
    return BundleError(f"{path} cannot be read ({reason})", "a complete bundle", "Fetch the bundle again")
