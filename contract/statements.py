"""What is attested about a bundle, and by whom: the payloads of signed envelopes."""

import msgspec

from contract.verdict import Verdict


class ManifestStatement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`manifest`, by the trainer: this bundle was built by our pipeline."""

    model: str
    digest: str


class Qualification(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`qualification`, by the trainer: this bundle was accepted against that champion on those rows."""

    model: str
    digest: str
    outcome: str  # accepted, kept or failed
    champion: str  # digest of the champion it was compared with, or empty
    held_out: str  # sha256 of the rows both were compared on
    reasons: tuple[str, ...]
    verdicts: tuple[Verdict, ...]  # of the gates of the world; those of the run are in the bundle's evidence


class Provenance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`provenance`, by the trainer: what differs between two equal builds."""

    model: str
    digest: str
    commit: str
    dirty: bool
    dvc_lock: str  # sha256 of dvc.lock
    run_id: str
    registered_at: str  # ISO 8601 UTC
    registered_by: str


# What staging looks at, by name. Evidence that lacks one of these is of another suite, and promotes nothing.
STAGING_CHECKS = (
    "ready",
    "version",
    "contract",
    "golden answers",
    "bad inputs refused",
    "latency",
    "metrics",
    "documented examples",
    "load",
    "pipeline verification",
)


class StagingEvidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`staging`, by staging: this version of this bundle passed the suite over HTTP."""

    model: str
    digest: str
    version: str
    run_id: str
    checks: tuple[tuple[str, bool, str], ...]  # name, passed, what was seen
    tested_at: str  # ISO 8601 UTC
    # Check to figure to value, units in the figures' names; none in evidence of before there was a load test.
    measured: dict[str, dict[str, float]] = {}
