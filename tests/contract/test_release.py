"""A release opens only for the one bundle that a trusted trainer vouched for."""

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contract.attestation import read_trust, sign
from contract.bundle import SMALL
from contract.errors import BundleError, ConfigError
from contract.release import attested, open_release
from contract.statements import ManifestStatement, Provenance, Qualification

pytestmark = pytest.mark.unit


def accepted(release):
    """A qualification of the release."""
    return Qualification(
        model="toy",
        digest=release.digest,
        outcome="accepted",
        champion="",
        held_out="",
        reasons=(),
        verdicts=(),
    )


def write(release, kind, statement, key=None):
    """Sign a statement into the release."""
    path = release.path / "attestations" / f"{kind}.json"
    path.write_bytes(sign(statement, kind, key or release.key))
    return path


@pytest.mark.parametrize("known", [True, False])
def test_a_release_opens_with_the_digest_that_was_vouched_for(make_bundle, known):
    """Whether or not the caller knows which one it expects."""
    release = make_bundle()
    bundle = open_release(release.path, release.digest if known else None, release.trust)
    assert bundle.digest == release.digest
    write(release, "qualification", accepted(release))
    found = attested(release.path, Qualification, "toy", bundle.digest, release.trust)
    assert found == accepted(release)


@pytest.mark.parametrize("change", [{"digest": "0" * 64}, {"model": "iris"}])
@pytest.mark.parametrize("kind", ["manifest", "qualification"])
def test_a_statement_about_another_bundle_is_refused(make_bundle, kind, change):
    """A sound signature cannot be carried over to another bundle or another model."""
    release = make_bundle()
    honest = {
        "manifest": ManifestStatement(model="toy", digest=release.digest),
        "qualification": accepted(release),
    }[kind]
    write(release, kind, msgspec.structs.replace(honest, **change))
    with pytest.raises(BundleError, match=f"the {kind} is about"):
        attested(release.path, type(honest), "toy", release.digest, release.trust)
    if kind == "manifest":
        with pytest.raises(BundleError, match="the manifest is about"):
            open_release(release.path, release.digest, release.trust)


def test_a_statement_by_a_stranger_is_refused(make_bundle):
    """Every statement needs a trusted trainer, not the manifest alone."""
    release = make_bundle()
    write(release, "qualification", accepted(release), Ed25519PrivateKey.generate())
    with pytest.raises(BundleError, match="a trusted trainer key"):
        attested(release.path, Qualification, "toy", release.digest, release.trust)


def test_a_missing_linked_or_huge_attestation_is_refused(make_bundle, tmp_path):
    """The sentence names the file and what it should hold."""
    release = make_bundle()

    def refused(words):
        with pytest.raises(BundleError, match=rf"provenance\.json cannot be read \({words}.* the provenance"):
            attested(release.path, Provenance, "toy", release.digest, release.trust)

    refused("No such file")
    path = release.path / "attestations" / "provenance.json"
    (tmp_path / "elsewhere").write_text("{}")
    path.symlink_to(tmp_path / "elsewhere")
    refused("it is a symbolic link")
    path.unlink()
    with path.open("wb") as file:
        file.truncate(SMALL + 1)
    refused("it has")


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff", b"not json"])
def test_an_attestation_that_is_none_is_a_fault_of_the_release(make_bundle, content):
    """Nobody is sent to correct their configuration."""
    release = make_bundle()
    (release.path / "attestations" / "manifest.json").write_bytes(content)
    with pytest.raises(BundleError, match="manifest attestation"):
        open_release(release.path, release.digest, release.trust)


def test_a_trust_list_may_be_a_link_and_must_be_there(make_bundle, tmp_path):
    """Mounted configuration is made of links; whoever names the list is believed."""
    release = make_bundle()
    (tmp_path / "link.json").symlink_to(release.trust_file)
    assert read_trust(tmp_path / "link.json") == release.trust
    with pytest.raises(ConfigError, match=r"none\.json cannot be read"):
        read_trust(tmp_path / "none.json")
