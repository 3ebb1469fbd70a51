"""What evidence of staging must be before production believes it: signed, whole, about this very version."""

import base64
import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contract.attestation import read_trust, sign
from contract.errors import BundleError
from contract.statements import STAGING_CHECKS, ManifestStatement
from pipelines.delivery.keys import ensure_keys, private_key
from pipelines.delivery.registry import STAGING_EVIDENCE, Version
from pipelines.delivery.releases import require_staged
from pipelines.machine.settings import Settings
from tests.pipelines.delivery.conftest import evidence, settings_in

VERSION = Version("toy", "1", "d" * 64, "r1", {}, ())


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A place with keys."""
    found = settings_in(tmp_path)
    ensure_keys(found.keys)
    return found


def judged(envelope: str, settings: Settings) -> str:
    """What `require_staged` makes of an envelope on the version."""
    version = Version("toy", "1", "d" * 64, "r1", {STAGING_EVIDENCE: envelope} if envelope else {}, ())
    return require_staged(version, read_trust(settings.trust))


@pytest.mark.unit
def test_honest_evidence_is_believed(settings: Settings) -> None:
    """Its hash is what the ledger keeps; more checks than are asked for do no harm."""
    envelope = evidence(VERSION, settings)
    assert len(judged(envelope, settings)) == 64
    more = tuple((name, True, "seen") for name in (*STAGING_CHECKS, "one more"))
    assert judged(evidence(VERSION, settings, checks=more), settings) != judged(envelope, settings)


@pytest.mark.unit
def test_a_version_that_skipped_staging_is_refused(settings: Settings) -> None:
    """The sentence says what to run."""
    with pytest.raises(BundleError, match=r"did not pass staging.*pipelines.deploy staging toy --version 1"):
        judged("", settings)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"version": "2"}, "is about toy version 2"),
        ({"digest": "0" * 64}, r"is about toy version 1 \(000000000000\)"),
        ({"run_id": "r2"}, "is about toy version 1"),
        ({"model": "iris"}, "is about iris"),
    ],
)
def test_evidence_copied_from_elsewhere_is_refused(
    settings: Settings, changes: dict[str, object], sentence: str
) -> None:
    """It is bound to model, version, bundle and run; a true word about another version is none about this."""
    with pytest.raises(BundleError, match=sentence):
        judged(evidence(VERSION, settings, **changes), settings)


@pytest.mark.unit
@pytest.mark.parametrize("name", STAGING_CHECKS)
def test_evidence_of_a_failed_check_is_refused(settings: Settings, name: str) -> None:
    """Whichever failed: a signature under a failure is no pass."""
    checks = tuple((check, check != name, "seen") for check in STAGING_CHECKS)
    with pytest.raises(BundleError, match=f"says that {name} failed"):
        judged(evidence(VERSION, settings, checks=checks), settings)


@pytest.mark.unit
@pytest.mark.parametrize("name", STAGING_CHECKS)
def test_evidence_of_another_suite_is_refused(settings: Settings, name: str) -> None:
    """One check that was not made is named."""
    checks = tuple((check, True, "seen") for check in STAGING_CHECKS if check != name)
    with pytest.raises(BundleError, match=f"is of another suite: it did not check {name}; expected"):
        judged(evidence(VERSION, settings, checks=checks), settings)


@pytest.mark.unit
def test_evidence_of_nothing_is_refused(settings: Settings) -> None:
    """An empty list of failures is no pass."""
    with pytest.raises(BundleError, match="nothing was checked"):
        judged(evidence(VERSION, settings, checks=()), settings)


class OlderEvidence(msgspec.Struct):
    """As staging signed it before there was a load test."""

    model: str
    digest: str
    version: str
    run_id: str
    checks: tuple[tuple[str, bool, str], ...]
    tested_at: str


@pytest.mark.unit
def test_evidence_of_an_older_staging_is_read_and_refused_for_what_it_lacks(settings: Settings) -> None:
    """Not as unreadable: the sentence says what was not checked, and to stage it again."""
    checks = tuple((name, True, "seen") for name in STAGING_CHECKS[:7])
    old = OlderEvidence("toy", "d" * 64, "1", "r1", checks, "2013-04-01T00:00:00+00:00")
    envelope = sign(old, "staging", private_key(settings.keys, "staging")).decode()
    with pytest.raises(BundleError, match=r"did not check documented examples, load, pipeline verification"):
        judged(envelope, settings)


def unsigned(envelope: str, _: Settings) -> str:
    """The payload without a signature."""
    return json.dumps(json.loads(envelope) | {"signatures": []})


def tampered(envelope: str, _: Settings) -> str:
    """A changed word under the old signature."""
    found = json.loads(envelope)
    payload = base64.b64decode(found["payload"]).replace(b'"seen"', b'"SEEN"', 1)
    return json.dumps(found | {"payload": base64.b64encode(payload).decode()})


def by_a_stranger(envelope: str, _: Settings) -> str:
    """Signed again by a key that nobody knows."""
    return signed_by(envelope, Ed25519PrivateKey.generate())


def by_the_trainer(envelope: str, settings: Settings) -> str:
    """Signed again by a key that is trusted, in another role."""
    return signed_by(envelope, private_key(settings.keys, "trainer"))


def signed_by(envelope: str, key: Ed25519PrivateKey) -> str:
    """The same words by another key."""
    payload = base64.b64decode(json.loads(envelope)["payload"])
    return sign(msgspec.json.decode(payload, type=OlderEvidence), "staging", key).decode()


def of_another_kind(_: str, settings: Settings) -> str:
    """Something else that staging's key signed."""
    statement = ManifestStatement(model="toy", digest="d" * 64)
    return sign(statement, "manifest", private_key(settings.keys, "staging")).decode()


def of_another_shape(_: str, settings: Settings) -> str:
    """Under the right type, other words."""
    statement = ManifestStatement(model="toy", digest="d" * 64)
    return sign(statement, "staging", private_key(settings.keys, "staging")).decode()


@pytest.mark.unit
@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (unsigned, "is signed by nobody; expected a trusted staging key"),
        (tampered, "expected a trusted staging key"),
        (by_a_stranger, "expected a trusted staging key"),
        (by_the_trainer, "expected a trusted staging key"),
        (of_another_kind, r"is a statement of type application/vnd\.flightline\.manifest"),
        (of_another_shape, "staging attestation"),
        (lambda envelope, _: envelope[:-20], "staging attestation"),
        (lambda *_: "yes, it passed", "staging attestation"),
        (lambda *_: "{}", "staging attestation"),
    ],
)
def test_what_staging_did_not_sign_is_refused(
    settings: Settings, spoil: Callable[[str, Settings], str], sentence: str
) -> None:
    """Unsigned, changed, foreign, of another kind, or no evidence at all."""
    with pytest.raises(BundleError, match=sentence):
        judged(spoil(evidence(VERSION, settings), settings), settings)
