"""Ed25519 signing keys of this machine, the list of the public keys that are trusted, and shared secrets."""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from contract.attestation import Trust, read_trust, trusted_key
from contract.errors import BundleError
from contract.locks import exclusive
from contract.strict import encode_json
from pipelines.machine.files import replace

Role = Literal["trainer", "staging"]
ROLES: tuple[Role, ...] = ("trainer", "staging")
TRUST = "trust.json"


def ensure_keys(folder: Path) -> Trust:
    """Make the keys and the trust list in `folder` where they are missing, and return the trust list.

    An existing trust list is never extended: whether a key is believed is a person's decision.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    with exclusive(folder / ".lock", "making of keys"):
        for role in ROLES:
            _make(folder / f"{role}.pem")
        if not (folder / TRUST).exists():
            keys = tuple(trusted_key(role, private_key(folder, role).public_key()) for role in ROLES)
            replace(folder / TRUST, encode_json(Trust(keys=keys)))
    return read_trust(folder / TRUST)


def private_key(folder: Path, role: Role, path: Path | None = None) -> Ed25519PrivateKey:
    """The signing key of `role`, or the one in `path` that is to become it.

    Raises:
        BundleError: it is missing, not an Ed25519 key, or readable by others than its owner.
    """
    path = path or folder / f"{role}.pem"
    remedy = f"Restore it, or run `python -m pipelines.keys {role}` to have a new one made"
    try:
        key = load_pem_private_key(_read(path, "signing key"), password=None)
    except OSError as error:
        raise BundleError(
            f"{path} cannot be read ({error.strerror})", f"the {role} signing key", remedy
        ) from None
    except ValueError:
        raise BundleError(f"{path} is not a private key", f"the {role} signing key", remedy) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise BundleError(f"{path} holds another kind of key", "an Ed25519 key", remedy)
    return key


def shared_secret(folder: Path, name: str, make: Callable[[], bytes]) -> str:
    """The secret `folder/name`, which `make` makes where there is none yet.

    Raises:
        BundleError: it is readable by others than its owner, or cannot be read.
    """
    path = folder / name
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with exclusive(folder / ".lock", "making of keys"):
        _make(path, make)
    try:
        text = _read(path, "secret").decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{path} cannot be read ({error})", "a secret", "Remove it") from None
    if not text:
        raise BundleError(f"{path} is empty", "a secret", "Remove it, and a new one is made")
    return text


def new_key() -> bytes:
    """A signing key, as PEM."""
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@contextmanager
def prepared(path: Path, make: Callable[[], bytes] = new_key) -> Iterator[Path]:
    """What is to take the place of the secret in `path`, under another name; after the block it has it.

    What a kill left prepared is taken up again. The caller holds the lock of the folder.
    """
    following = path.with_name(f"{path.name}.next")
    _make(following, make)
    yield following
    following.rename(path)


def _read(path: Path, what: str) -> bytes:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise BundleError(
            f"{path} is open to others than its owner (mode {mode:04o})",
            f"a {what} that only its owner reads",
            f"If nobody else has read it, run `chmod 600 {path}`; else replace it",
        )
    return path.read_bytes()


def _make(path: Path, make: Callable[[], bytes] = new_key) -> None:
    """A new key in `path`, readable by its owner only; an existing one stays."""
    if path.exists():
        return
    data = make()
    part = path.with_suffix(".part")  # an interrupted write must not leave half a key under its name
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
