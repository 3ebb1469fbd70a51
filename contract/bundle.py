"""The model bundle: what training hands over, and the check that it arrived whole."""

import hashlib
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


def seal(path: Path, contract: Contract) -> str:
    """Write `manifest.json` into the folder `path` and return the bundle's digest (hex sha256).

    Raises:
        BundleError: a file is missing.
    """
    missing = [name for name in FILES if not (path / name).is_file()]
    if missing:
        raise BundleError(
            f"{path} lacks {', '.join(missing)}", "every file of a bundle", "Run the package stage again"
        )
    files = {name: _sha256(path / name) for name in FILES}
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
    manifest_bytes = _read(path / MANIFEST)
    found = hashlib.sha256(manifest_bytes).hexdigest()
    if digest is not None and found != digest:
        raise _changed(path, f"has digest {found[:12]}", f"digest {digest[:12]}")
    manifest = _decode(manifest_bytes, Manifest, path / MANIFEST)
    extra = sorted(item.name for item in path.iterdir() if item.name not in {MANIFEST, *manifest.files})
    absent = sorted(set(FILES) - set(manifest.files))
    if extra or absent:
        raise _changed(path, f"holds {', '.join(extra) or 'no ' + ', '.join(absent)}", "exactly its files")
    for name, expected in sorted(manifest.files.items()):
        if _sha256(path / name) != expected:
            raise _changed(path, f"has a changed {name}", "the file named in its manifest")
    contract = _decode(_read(path / "contract.json"), Contract, path / "contract.json")
    if contract.fingerprint != manifest.contract or contract.model != manifest.model:
        raise _changed(path, "has a contract of another fingerprint", "the contract of its manifest")
    return Bundle(
        path=path,
        digest=found,
        manifest=manifest,
        contract=contract,
        golden=_decode(_read(path / "golden.json"), Golden, path / "golden.json"),
        environment=_decode(_read(path / "environment.json"), Environment, path / "environment.json"),
    )


def _decode(data: bytes, into: type[Any], path: Path) -> Any:
    try:
        return decode_json(data, into, path.name)
    except ConfigError as error:
        raise BundleError(error.found, error.expected, "Fetch the bundle again") from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"{path} cannot be read ({error.strerror})", "a complete bundle", "Fetch the bundle again"
        ) from None


def _sha256(path: Path) -> str:
    return hashlib.sha256(_read(path)).hexdigest()


def _changed(path: Path, found: str, expected: str) -> BundleError:
    return BundleError(f"the bundle in {path} {found}", expected, "Fetch it again from the registry")
