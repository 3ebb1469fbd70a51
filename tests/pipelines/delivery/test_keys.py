"""Keys are made once, for their owner's eyes, and only listed ones are believed."""

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contract.attestation import read_trust, sign, verify
from contract.errors import BundleError, ConfigError
from contract.statements import ManifestStatement
from pipelines.delivery.keys import ensure_keys, private_key

pytestmark = pytest.mark.unit

STATEMENT = ManifestStatement(model="toy", digest="0" * 64)


def test_keys_are_made_once_and_readable_by_their_owner_only(tmp_path: Path) -> None:
    """A second call changes nothing."""
    trust = ensure_keys(tmp_path)
    files = {path.name: path.read_bytes() for path in tmp_path.glob("*.*")}
    assert ensure_keys(tmp_path) == trust == read_trust(tmp_path / "trust.json")
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.*")} == files
    for role in ("trainer", "staging"):
        assert stat.S_IMODE((tmp_path / f"{role}.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_may_read_signs_nothing(tmp_path: Path, mode: int) -> None:
    """Whoever could read it could have signed with it."""
    ensure_keys(tmp_path)
    (tmp_path / "trainer.pem").chmod(mode)
    with pytest.raises(
        BundleError, match=r"is open to others than its owner .* run `chmod 600 .*trainer\.pem`"
    ):
        private_key(tmp_path, "trainer")


def test_an_interrupted_making_is_completed(tmp_path: Path) -> None:
    """Half a key under a temporary name does not stand in the way."""
    (tmp_path / "trainer.part").write_bytes(b"-----BEGIN")
    ensure_keys(tmp_path)
    assert isinstance(private_key(tmp_path, "trainer"), Ed25519PrivateKey)


def test_our_own_signature_is_believed_and_a_foreign_one_is_not(tmp_path: Path) -> None:
    """The trust list decides, and so does the role: staging cannot speak as the trainer."""
    trust = ensure_keys(tmp_path)
    ours = sign(STATEMENT, "manifest", private_key(tmp_path, "trainer"))
    assert verify(ours, ManifestStatement, "manifest", "trainer", trust) == STATEMENT
    for key in (Ed25519PrivateKey.generate(), private_key(tmp_path, "staging")):
        with pytest.raises(BundleError, match="a trusted trainer key"):
            verify(sign(STATEMENT, "manifest", key), ManifestStatement, "manifest", "trainer", trust)


def test_a_new_key_is_not_believed_by_an_old_list(tmp_path: Path) -> None:
    """Replacing a key does not extend the trust list by itself."""
    trust = ensure_keys(tmp_path)
    (tmp_path / "trainer.pem").unlink()
    assert ensure_keys(tmp_path) == trust
    envelope = sign(STATEMENT, "manifest", private_key(tmp_path, "trainer"))
    with pytest.raises(BundleError, match="a trusted trainer key"):
        verify(envelope, ManifestStatement, "manifest", "trainer", trust)


def test_a_missing_or_broken_key_is_one_sentence(tmp_path: Path) -> None:
    """Nothing signs with a key that is not there."""
    with pytest.raises(BundleError, match="cannot be read"):
        private_key(tmp_path, "trainer")
    (tmp_path / "trainer.pem").write_text("not a key")
    (tmp_path / "trainer.pem").chmod(0o600)
    with pytest.raises(BundleError, match="is not a private key"):
        private_key(tmp_path, "trainer")
    with pytest.raises(ConfigError, match="a list of trusted keys"):
        read_trust(tmp_path / "trust.json")
