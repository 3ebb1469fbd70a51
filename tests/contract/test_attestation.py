"""A statement is believed only as what it was signed, by whom it was signed."""

import base64
import json

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.attestation import Trust, TrustedKey, key_id, sign, trusted_key, verify
from contract.errors import BundleError, FlightlineError
from contract.statements import ManifestStatement, Qualification

pytestmark = pytest.mark.unit

KEY, FOREIGN = (Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32) for seed in (1, 2))
TRUST = Trust(keys=(trusted_key("trainer", KEY.public_key()),))
STATEMENT = ManifestStatement(model="toy", digest="d" * 64)


def read(envelope, *, kind="manifest", role="trainer", into=ManifestStatement, trust=TRUST):
    """The statement in `envelope`, as the deployer reads it."""
    return verify(envelope, into, kind, role, trust)


def altered(**parts):
    """A sound envelope with some of its parts replaced."""
    return json.dumps({**json.loads(sign(STATEMENT, "manifest", KEY)), **parts}).encode()


@given(st.text(max_size=30), st.text(max_size=80))
def test_a_signed_statement_is_read_back(model, digest):
    """Whatever it says."""
    statement = ManifestStatement(model=model, digest=digest)
    assert read(sign(statement, "manifest", KEY)) == statement


def test_a_second_trusted_key_of_the_role_is_believed_too():
    """During a rotation both the old and the new key hold."""
    both = Trust(keys=(trusted_key("trainer", FOREIGN.public_key()), *TRUST.keys))
    assert read(sign(STATEMENT, "manifest", KEY), trust=both) == STATEMENT
    assert read(sign(STATEMENT, "manifest", FOREIGN), trust=both) == STATEMENT


def test_a_foreign_key_is_refused_and_named():
    """The sentence says who signed, and whose signature was wanted."""
    with pytest.raises(BundleError, match=f"signed by {key_id(FOREIGN.public_key())}; expected a trusted"):
        read(sign(STATEMENT, "manifest", FOREIGN))


def test_a_key_speaks_for_its_own_role_only():
    """Staging's key cannot say that training built something."""
    staging = Trust(keys=(trusted_key("staging", KEY.public_key()),))
    with pytest.raises(BundleError, match="expected a trusted trainer key"):
        read(sign(STATEMENT, "manifest", KEY), trust=staging)


def test_a_statement_of_one_kind_is_not_taken_for_another():
    """A signed manifest is no qualification."""
    with pytest.raises(BundleError, match="is a statement of type"):
        read(sign(STATEMENT, "manifest", KEY), kind="qualification", into=Qualification)


def test_renaming_the_kind_breaks_the_signature():
    """The type is under the signature, too."""
    renamed = altered(payloadType="application/vnd.flightline.qualification+json")
    with pytest.raises(BundleError, match="is signed by"):
        read(renamed, kind="qualification", into=Qualification)


def test_a_changed_payload_is_refused():
    """Another digest under the old signature."""
    other = json.dumps({"model": "toy", "digest": "e" * 64}).encode()
    with pytest.raises(BundleError, match="is signed by"):
        read(altered(payload=base64.b64encode(other).decode()))


def test_a_borrowed_key_id_does_not_help():
    """The id is a hint; the signature decides."""
    foreign = json.loads(sign(STATEMENT, "manifest", FOREIGN))["signatures"][0]
    with pytest.raises(BundleError, match="is signed by"):
        read(altered(signatures=[{**foreign, "keyid": key_id(KEY.public_key())}]))


def test_an_unsigned_envelope_is_refused():
    """No signature is nobody's word."""
    with pytest.raises(BundleError, match="is signed by nobody"):
        read(altered(signatures=[]))


def test_no_trusted_key_means_no_trust():
    """An empty trust list believes nothing."""
    with pytest.raises(BundleError, match="expected a trusted trainer key"):
        read(sign(STATEMENT, "manifest", KEY), trust=Trust(keys=()))


@pytest.mark.parametrize("sig", ["", "AA==", "A" * 88])
def test_a_signature_of_the_wrong_shape_is_refused(sig):
    """Too short, too long, or not one at all."""
    with pytest.raises(BundleError, match="is signed by"):
        read(altered(signatures=[{"keyid": "x", "sig": sig}]))


@pytest.mark.parametrize(
    "parts", [{"payload": "%%%"}, {"payload": "ä"}, {"signatures": [{"keyid": "", "sig": "%"}]}]
)
def test_what_is_not_base64_is_refused(parts):
    """Damage on the way is one sentence."""
    with pytest.raises(BundleError, match="is not base64"):
        read(altered(**parts))


@pytest.mark.parametrize("envelope", [b"", b"{}", b"[]", b'{"payload": 1}'])
def test_what_is_not_an_envelope_is_refused(envelope):
    """Anything else in the file's place is one sentence."""
    with pytest.raises(FlightlineError, match="manifest attestation"):
        read(envelope)


@pytest.mark.parametrize("public", ["", "%%%", "AAAA"])
def test_a_broken_trust_list_is_one_sentence(public):
    """A key that was mistyped by hand is named instead of ending in a traceback."""
    broken = Trust(keys=(TrustedKey(role="trainer", public=public),))
    with pytest.raises(FlightlineError, match="trust list"):
        read(sign(STATEMENT, "manifest", KEY), trust=broken)


@settings(max_examples=60, deadline=None)
@given(where=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_flipping_a_byte_never_yields_another_statement(where, flip):
    """Either it is refused, or the flip did not touch what was said (a key id is only a hint)."""
    broken = bytearray(sign(STATEMENT, "manifest", KEY))
    broken[int(where * len(broken))] ^= flip
    try:
        statement = read(bytes(broken))
    except FlightlineError:
        return
    assert msgspec.structs.asdict(statement) == msgspec.structs.asdict(STATEMENT)
