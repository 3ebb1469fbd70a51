"""Signed statements about a bundle: DSSE envelopes with Ed25519 keys.

Format: https://github.com/secure-systems-lab/dsse/blob/master/envelope.md
"""

import base64
import hashlib
from pathlib import Path
from typing import TypeVar

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from contract.errors import BundleError, ConfigError
from contract.strict import decode_json, encode_json

T = TypeVar("T")


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One signature over an envelope's payload."""

    keyid: str
    sig: str  # base64


class Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A payload with its type and signatures."""

    payload_type: str
    payload: str  # base64
    signatures: tuple[Signature, ...]


class TrustedKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A public key and the role it may speak for (`trainer` or `staging`)."""

    role: str
    public: str  # base64 of the raw 32 bytes


class Trust(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The public keys that a verifier believes."""

    keys: tuple[TrustedKey, ...]


def read_trust(path: Path) -> Trust:
    """The trust list in `path`. Whoever names the file is believed: it may be a link, as a mounted one is.

    Raises:
        ConfigError: the file cannot be read or is not a trust list.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"the trust list {path} cannot be read ({error.strerror})",
            "a list of trusted keys",
            "Name the file with the public keys; registering a model makes the first one",
        ) from None
    return decode_json(data, Trust, path.name)


def key_id(public: Ed25519PublicKey) -> str:
    """First 16 hex digits of the sha256 of the raw public key."""
    return hashlib.sha256(_raw(public)).hexdigest()[:16]


def trusted_key(role: str, public: Ed25519PublicKey) -> TrustedKey:
    """The entry of a trust list for `public`."""
    return TrustedKey(role=role, public=base64.b64encode(_raw(public)).decode())


def sign(statement: msgspec.Struct, kind: str, key: Ed25519PrivateKey) -> bytes:
    """An envelope, as JSON bytes, in which `key` signs `statement` as a statement of `kind`."""
    payload = encode_json(statement)
    signature = key.sign(_pae(_type(kind), payload))
    return encode_json(
        Envelope(
            payload_type=_type(kind),
            payload=base64.b64encode(payload).decode(),
            signatures=(Signature(keyid=key_id(key.public_key()), sig=base64.b64encode(signature).decode()),),
        )
    )


def verify(envelope: bytes, into: type[T], kind: str, role: str, trust: Trust) -> T:
    """The statement in `envelope`, once a trusted key of `role` is found to have signed it as `kind`.

    Raises:
        BundleError: the envelope is malformed, of another kind, or not signed by a trusted key.
        ConfigError: the trust list holds something that is no key.
    """
    opened: Envelope = _decode(envelope, Envelope, kind)
    if opened.payload_type != _type(kind):
        raise _untrusted(kind, f"is a statement of type {opened.payload_type}", f"type {_type(kind)}")
    try:
        payload = base64.b64decode(opened.payload, validate=True)
        signatures = [base64.b64decode(item.sig, validate=True) for item in opened.signatures]
    except ValueError:
        raise _untrusted(kind, "is not base64", "a DSSE envelope") from None
    for key in (item for item in trust.keys if item.role == role):
        public = _public(key)
        if any(_signed(public, signature, _pae(_type(kind), payload)) for signature in signatures):
            return _decode(payload, into, kind)
    signers = ", ".join(item.keyid for item in opened.signatures) or "nobody"
    raise _untrusted(kind, f"is signed by {signers}", f"a trusted {role} key")


def _decode(data: bytes, into: type[T], kind: str) -> T:
    try:
        return decode_json(data, into, f"{kind} attestation")
    except ConfigError as error:  # a fault of the release, not of somebody's configuration
        raise BundleError(error.found, error.expected, "Register the version again") from None


def _public(key: TrustedKey) -> Ed25519PublicKey:
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(key.public, validate=True))
    except ValueError:
        raise ConfigError(
            f"the trust list holds '{key.public}' as a {key.role} key",
            "32 bytes in base64",
            "Restore the trust list",
        ) from None


def _signed(public: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    try:
        public.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _type(kind: str) -> str:
    return f"application/vnd.flightline.{kind}+json"


def _pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: lengths in front, so that no two inputs collide."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def _raw(public: Ed25519PublicKey) -> bytes:
    return public.public_bytes(Encoding.Raw, PublicFormat.Raw)


def _untrusted(kind: str, found: str, expected: str) -> BundleError:
    return BundleError(f"the {kind} attestation {found}", expected, "Register the version again")
