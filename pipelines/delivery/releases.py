"""Releases on this machine: fetched from the registry, verified, and kept by digest for a rollback."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from contract.attestation import Trust, read_trust, verify
from contract.bundle import Bundle, open_bundle
from contract.errors import BundleError, ConfigError
from contract.locks import exclusive
from contract.release import attested
from contract.statements import STAGING_CHECKS, ManifestStatement, Provenance, Qualification, StagingEvidence
from pipelines.delivery.evidence import read_evidence
from pipelines.delivery.registry import ATTESTATIONS, BUNDLE, STAGING_EVIDENCE, Registry, Version
from pipelines.machine.files import replace, scratch
from pipelines.machine.settings import Settings

KINDS = ("manifest", "qualification", "provenance")  # what the trainer states about a bundle


@dataclass(frozen=True)
class Release:
    """A verified release directory: `bundle/` and `attestations/`."""

    path: Path
    bundle: Bundle
    qualification: Qualification
    provenance: Provenance


def fetch(registry: Registry, version: Version, settings: Settings) -> Release:
    """The verified release of a registered version, downloaded unless it is already here.

    A copy on disk that was changed is refused rather than replaced: somebody should know.

    Raises:
        BundleError: the bundle or an attestation is not what was signed for this version.
    """
    if not version.digest or not version.run_id:
        raise BundleError(
            f"version {version.version} of {version.model} names no bundle digest or run",
            "a version made by `python -m pipelines.register`",
            "Register the bundle that way",
        )
    target = settings.releases / version.digest
    about = (version.model, version.digest, version.run_id)
    with (
        exclusive(settings.releases / ".lock", "fetching of a release"),
        scratch(settings.releases) as folder,
    ):
        attestations = registry.download(version.run_id, ATTESTATIONS, folder)
        if target.exists():
            open_release(target, version.model, version.digest, settings)
            _verify(folder, *about, settings)
            # A version that was qualified again has new attestations. Each is replaced in one step, and each
            # is whole by itself: wherever this is cut off, the kept release is one that verifies.
            for kind in KINDS:
                replace(target / ATTESTATIONS / f"{kind}.json", (attestations / f"{kind}.json").read_bytes())
        else:
            registry.download(version.run_id, BUNDLE, folder)
            open_release(folder, version.model, version.digest, settings, version.run_id)
            folder.chmod(0o755)
            folder.rename(target)
        os.utime(target)  # it is in use: see `kept`
    return open_release(target, version.model, version.digest, settings, version.run_id)


def open_release(path: Path, model: str, digest: str, settings: Settings, run_id: str = "") -> Release:
    """The release directory `path`, once its bytes and the trainer's three statements agree.

    Raises:
        BundleError: they do not, or a key is not trusted.
    """
    try:
        bundle = open_bundle(path / BUNDLE, digest)
        qualification, provenance = _verify(path, model, digest, run_id, settings)
    except BundleError as error:
        remedy = error.remedy
        if path.parent == settings.releases and path.exists():
            remedy = f"Remove {path}, then `make staging` fetches it anew from the registry"
        raise BundleError(error.found, error.expected, remedy) from None
    if bundle.model != model:
        raise _foreign("bundle's contract", bundle.model, model)
    return Release(path=path, bundle=bundle, qualification=qualification, provenance=provenance)


def _verify(
    path: Path, model: str, digest: str, run_id: str, settings: Settings
) -> tuple[Qualification, Provenance]:
    """The trainer's statements in `path/attestations`, found to accept exactly this bundle (of this run)."""
    trust = read_trust(settings.trust)
    attested(path, ManifestStatement, model, digest, trust)
    qualification = attested(path, Qualification, model, digest, trust)
    provenance = attested(path, Provenance, model, digest, trust)
    if run_id and provenance.run_id != run_id:
        raise _foreign("provenance", f"run {provenance.run_id}", f"run {run_id}")
    if qualification.outcome != "accepted":
        raise BundleError(
            f"the qualification of {model} {digest[:12]} is '{qualification.outcome}'",
            "'accepted'",
            "Qualify and register it again",
        )
    return qualification, provenance


def require_gates(release: Release) -> None:
    """Nothing, if no gate of the run or of the world says `fail`: an acceptance may contradict its verdicts.

    Raises:
        BundleError: one does.
    """
    verdicts = (*read_evidence(release.bundle.path).verdicts, *release.qualification.verdicts)
    failed = sorted({item.code for item in verdicts if item.verdict == "fail"})
    if failed:
        bundle = release.bundle
        raise BundleError(
            f"{', '.join(failed)} failed for the bundle {bundle.digest[:12]} of {bundle.model}, which was "
            f"{release.qualification.outcome} all the same",
            "no failed gate",
            "Train a better model; docs/gates.md says what each gate found",
        )


def require_staged(version: Version, trust: Trust) -> str:
    """The hash of staging's signed evidence, which `staged` believes.

    Raises:
        BundleError: it does not.
    """
    staged(version, trust)
    return hashlib.sha256(version.tags[STAGING_EVIDENCE].encode()).hexdigest()


def staged(version: Version, trust: Trust) -> StagingEvidence:
    """Staging's signed evidence, found to speak of exactly this version, bundle and run.

    Raises:
        BundleError: there is none, it is another version's, a check failed, or its key is not trusted.
    """
    remedy = f"Run `python -m pipelines.deploy staging {version.model} --version {version.version}`"
    envelope = version.tags.get(STAGING_EVIDENCE, "")
    if not envelope:
        raise BundleError(
            f"version {version.version} of {version.model} did not pass staging",
            "signed evidence of it",
            remedy,
        )
    try:
        evidence = verify(envelope.encode(), StagingEvidence, "staging", "staging", trust)
    except ConfigError as error:  # the tag holds something else
        raise BundleError(error.found, error.expected, remedy) from None
    found = (evidence.model, evidence.version, evidence.digest, evidence.run_id)
    expected = (version.model, version.version, version.digest, version.run_id)
    if found != expected:
        raise BundleError(
            f"the staging evidence on version {version.version} of {version.model} is about "
            f"{evidence.model} version {evidence.version} ({evidence.digest[:12]})",
            f"evidence about {version.model} version {version.version} ({version.digest[:12]})",
            remedy,
        )
    failed = [name for name, passed, _ in evidence.checks if not passed]
    if failed or not evidence.checks:
        seen = f"{', '.join(failed)} failed" if failed else "nothing was checked"
        raise BundleError(
            f"staging's evidence says that {seen}",
            "every check passed",
            remedy,
        )
    missing = [name for name in STAGING_CHECKS if name not in {check for check, _, _ in evidence.checks}]
    if missing:
        raise BundleError(
            f"the staging evidence on version {version.version} of {version.model} is of another suite: it "
            f"did not check {', '.join(missing)}",
            f"evidence of all {len(STAGING_CHECKS)} checks",
            remedy,
        )
    return evidence


def _foreign(what: str, found: str, expected: str) -> BundleError:
    return BundleError(f"the {what} is about {found}", expected, "Register the bundle again")
