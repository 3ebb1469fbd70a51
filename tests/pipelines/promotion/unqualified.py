"""Versions that do not qualify, each in a way of its own, and what a person reads about it."""

import base64
import json
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contract.attestation import sign
from contract.statements import Qualification
from pipelines.delivery.keys import private_key
from pipelines.delivery.registry import STAGING_EVIDENCE, Version
from tests.conftest import toy_contract
from tests.pipelines.promotion.conftest import Place, evidence


def unstaged(place: Place) -> Version:
    """It never was in staging."""
    return place.version(staged=False)


def unsigned(place: Place) -> Version:
    """Its evidence is a claim without an envelope."""
    version = place.version(staged=False)
    place.registry.tag(version, STAGING_EVIDENCE, json.dumps({"passed": True}))
    return version


def tampered(place: Place) -> Version:
    """Staging said that it failed; somebody corrected that."""
    version = place.version(staged=False)
    place.stage(version, passed=False)
    envelope = json.loads(place.registry.by_number(place.model, version.version).tags[STAGING_EVIDENCE])
    payload = base64.b64decode(envelope["payload"]).replace(b"false", b"true")
    envelope["payload"] = base64.b64encode(payload).decode()
    place.registry.tag(version, STAGING_EVIDENCE, json.dumps(envelope))
    return version


def foreign(place: Place) -> Version:
    """Its evidence is signed by a key that nobody trusts."""
    version = place.version(staged=False)
    envelope = sign(evidence(version), "staging", Ed25519PrivateKey.generate())
    place.registry.tag(version, STAGING_EVIDENCE, envelope.decode())
    return version


def borrowed(place: Place) -> Version:
    """Its evidence is another version's."""
    other, version = place.version(), place.version(staged=False)
    place.registry.tag(version, STAGING_EVIDENCE, other.tags[STAGING_EVIDENCE])
    return version


def failed_staging(place: Place) -> Version:
    """Staging's own word is that a check failed."""
    version = place.version(staged=False)
    place.stage(version, passed=False)
    return version


def another_suite(place: Place) -> Version:
    """Staging passed it when it looked at less."""
    version = place.version(staged=False)
    less = msgspec.structs.replace(evidence(version), checks=(("ready", True, "seen"),))
    envelope = sign(less, "staging", private_key(place.settings.keys, "staging"))
    place.registry.tag(version, STAGING_EVIDENCE, envelope.decode())
    return version


def failed_gate(place: Place) -> Version:
    """Its signed qualification says that a gate failed."""
    version = place.version()
    path = stored(place, version, "attestations/qualification.json")
    envelope = json.loads(path.read_bytes())
    payload = json.loads(base64.b64decode(envelope["payload"]))
    statement = Qualification(**{**payload, "outcome": "failed", "reasons": ("G05",), "verdicts": ()})
    path.write_bytes(sign(statement, "qualification", private_key(place.settings.keys, "trainer")))
    return version


def changed_bundle(place: Place) -> Version:
    """Somebody edited a file of its bundle in MLflow's store."""
    version = place.version()
    path = stored(place, version, "bundle/golden.json")
    path.write_bytes(path.read_bytes() + b" ")
    return version


def other_champion(place: Place) -> Version:
    """It was compared with something that is not live."""
    return place.version(compared="f" * 64)


def older_contract(place: Place) -> Version:
    """It does not know a feature that callers send."""
    return place.version(contract=toy_contract(place.model, categories=False))


def rolled_back(place: Place) -> Version:
    """It was live until somebody went back from it."""
    before = place.live
    assert before is not None
    version = place.version()
    place.make_live(version)
    place.make_live(place.registry.by_number(place.model, before.version), "rollback")
    return version


def stored(place: Place, version: Version, name: str) -> Path:
    """An artifact of a version's run, where MLflow keeps it."""
    return next((place.settings.var / "mlartifacts").glob(f"*/{version.run_id}/artifacts/{name}"))


UNQUALIFIED = [
    (unstaged, "did not pass staging; expected signed evidence of it"),
    (unsigned, "staging attestation: unknown key 'passed'"),
    (tampered, "trusted staging key"),
    (foreign, "trusted staging key"),
    (borrowed, "is about iris version"),
    (failed_staging, "staging's evidence says that ready failed"),
    (another_suite, "is of another suite"),
    (failed_gate, "is 'failed'; expected 'accepted'"),
    (changed_bundle, "changed golden.json"),
    (other_champion, "was compared with ffffffffffff, but"),
    (older_contract, "has an older contract than version 1, which answers: it lacks 'letter'"),
    (rolled_back, "was left for version 1 on"),
]
