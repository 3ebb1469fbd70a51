"""Ed25519 signing keys of this machine and the list of the public keys that are trusted."""

import os
import stat
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


def private_key(folder: Path, role: Role) -> Ed25519PrivateKey:
    """The signing key of `role`.

    Raises:
        BundleError: it is missing, not an Ed25519 key, or readable by others than its owner.
    """
    path = folder / f"{role}.pem"
    remedy = "Restore it, or remove it and its entry in trust.json to have a new one made"
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise BundleError(
                f"{path} is open to others than its owner (mode {mode:04o})",
                "a signing key that only its owner reads",
                f"If nobody else has read it, run `chmod 600 {path}`; else replace the key",
            )
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise BundleError(
            f"{path} cannot be read ({error.strerror})", f"the {role} signing key", remedy
        ) from None
    except ValueError:
        raise BundleError(f"{path} is not a private key", f"the {role} signing key", remedy) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise BundleError(f"{path} holds another kind of key", "an Ed25519 key", remedy)
    return key


def _make(path: Path) -> None:
    """A new key in `path`, readable by its owner only; an existing one stays."""
    if path.exists():
        return
    data = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    part = path.with_suffix(".part")  # an interrupted write must not leave half a key under its name
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
