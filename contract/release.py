"""A release directory: a bundle, and what the trainer attested about it."""

from pathlib import Path
from typing import TypeVar

from contract.attestation import Trust, verify
from contract.bundle import SMALL, Bundle, open_bundle, read_file
from contract.errors import BundleError
from contract.statements import ManifestStatement, Provenance, Qualification

BUNDLE = "bundle"
ATTESTATIONS = "attestations"

KINDS: dict[type, str] = {  # what the trainer states, and the name of its file
    ManifestStatement: "manifest",
    Qualification: "qualification",
    Provenance: "provenance",
}

S = TypeVar("S", ManifestStatement, Qualification, Provenance)


def open_release(release: Path, digest: str | None, trust: Trust) -> Bundle:
    """The bundle of the directory `release`, once a trusted trainer is found to have vouched for it.

    `digest` is the hex sha256 the caller expects; None takes the one that was vouched for.

    Raises:
        BundleError: the manifest attestation or the bundle is not what it claims to be.
    """
    statement = _verified(release, "manifest", ManifestStatement, trust)
    bundle = open_bundle(release / BUNDLE, digest or statement.digest)
    _compare("manifest", statement, bundle.model, bundle.digest)
    return bundle


def attested(release: Path, into: type[S], model: str, digest: str, trust: Trust) -> S:
    """The trainer's statement of type `into` in the directory `release`, found to be about that bundle.

    It says nothing about the bytes of the bundle: `open_release` does.

    Raises:
        BundleError: there is none, a trusted trainer did not sign it, or it is about another bundle.
    """
    kind = KINDS[into]
    statement = _verified(release, kind, into, trust)
    _compare(kind, statement, model, digest)
    return statement


def _verified(release: Path, kind: str, into: type[S], trust: Trust) -> S:
    path = release / ATTESTATIONS / f"{kind}.json"
    try:
        envelope = read_file(path, SMALL)
    except BundleError as error:
        raise BundleError(error.found, f"the {kind} attestation", "Fetch the release again") from None
    return verify(envelope, into, kind, "trainer", trust)


def _compare(
    kind: str, statement: ManifestStatement | Qualification | Provenance, model: str, digest: str
) -> None:
    if (statement.model, statement.digest) != (model, digest):
        raise BundleError(
            f"the {kind} is about {statement.model} {statement.digest[:12]}",
            f"{model} {digest[:12]}",
            "Register the bundle again",
        )
