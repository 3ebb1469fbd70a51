"""Sign an accepted bundle and register it in MLflow: `python -m pipelines.register MODEL`.

The order of writes is what keeps half a version from ever being seen: run, artifacts, attestations, then the
version with its description and tags in one request, then the alias. An interrupted run of this command is
continued by the next one, which finds the version by the bundle's digest.
"""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from contract.attestation import sign
from contract.bundle import Bundle
from contract.errors import FlightlineError
from contract.locks import exclusive
from contract.statements import ManifestStatement, Provenance, Qualification
from contract.strict import decode_json
from pipelines.cli import OK, artifacts_option, command, json_option, parser, quiet
from pipelines.delivery.evidence import description, read_evidence, tags
from pipelines.delivery.keys import ensure_keys, private_key
from pipelines.delivery.registry import ATTESTATIONS, CHALLENGER, DIGEST, Registry, connect
from pipelines.delivery.tracking_server import version_link
from pipelines.machine.files import scratch
from pipelines.machine.processes import Say
from pipelines.machine.settings import Settings
from pipelines.track import Lineage, lineage, require_bundle, track

QUALIFIED = "qualified.against"  # tag: digest of the champion that the bundle was compared with


@dataclass(frozen=True)
class Registered:
    """A version in the registry."""

    model: str
    version: str
    run_id: str
    digest: str
    created: bool  # False: the bundle was registered before
    link: str


def register(model: str, settings: Settings, artifacts: Path, say: Say = print) -> Registered:
    """Register the bundle in `artifacts/MODEL`, if its qualification says that it was accepted.

    Raises:
        FlightlineError: the bundle is not whole, not qualified or not accepted, or MLflow does not answer.
    """
    bundle = require_bundle(model, artifacts)
    qualification = accepted(bundle, settings)
    registry = connect(settings)
    ensure_keys(settings.keys)
    tracked = track(model, settings, artifacts, say)
    with exclusive(settings.var / "register.lock", "registration"):
        found = registry.by_digest(model, bundle.digest)
        # A version speaks of the run it was made from, also when that run was deleted and tracked anew.
        run_id = found.run_id if found else tracked.run_id
        verdicts = (*read_evidence(bundle.path).verdicts, *qualification.verdicts)
        text = description(
            (bundle.path / "model_card.md").read_text(encoding="utf-8"), bundle.digest, verdicts
        )
        if found is None or found.tags.get(QUALIFIED) != qualification.champion:
            source = lineage(artifacts.absolute().parent)
            _attest(registry, (bundle, qualification, source), run_id, settings)
            registry.tag_run(tracked.run_id, tags(verdicts))  # a deleted run takes no tags
        if found is None:
            version = registry.create(
                model,
                run_id,
                text,
                {
                    DIGEST: bundle.digest,
                    "contract": bundle.contract.fingerprint,
                    "as_of": bundle.environment.as_of,
                    QUALIFIED: qualification.champion,
                },
            )
        else:
            version = found
            if found.tags.get(QUALIFIED) != qualification.champion:
                registry.describe(version, text)
            registry.tag(version, QUALIFIED, qualification.champion)
        # An older version that is registered again does not take the alias from a newer one.
        if version.version == registry.versions(model)[0].version:
            registry.set_alias(model, CHALLENGER, version.version)
    link = version_link(settings, model, version.version)
    news = "registered" if found is None else "was registered before"
    say(f"{model}: version {version.version} {news}, {link}")
    return Registered(model, version.version, run_id, bundle.digest, found is None, link)


def accepted(bundle: Bundle, settings: Settings) -> Qualification:
    """The qualification of exactly this bundle, found to be an acceptance.

    Raises:
        FlightlineError: there is none, it is another bundle's, or it says something else.
    """
    path = settings.qualification(bundle.digest)
    remedy = f"Run `python -m pipelines.qualify {bundle.model}`"
    if not path.is_file():
        raise FlightlineError(
            f"bundle {bundle.digest[:12]} of {bundle.model} was not qualified", "an accepted one", remedy
        )
    qualification = decode_json(path.read_bytes(), Qualification, path.name)
    if (qualification.model, qualification.digest) != (bundle.model, bundle.digest):
        raise FlightlineError(
            f"{path.name} qualifies {qualification.model} {qualification.digest[:12]}",
            f"{bundle.model} {bundle.digest[:12]}",
            remedy,
        )
    if qualification.outcome != "accepted":
        why = "; ".join(qualification.reasons) or "no reason given"
        raise FlightlineError(
            f"the qualification of {bundle.model} {bundle.digest[:12]} is '{qualification.outcome}' ({why})",
            "'accepted'",
            "Train a better model; nothing was registered",
        )
    verdicts = (*read_evidence(bundle.path).verdicts, *qualification.verdicts)
    failed = [item.code for item in verdicts if item.verdict == "fail"]
    if failed:
        raise FlightlineError(
            f"{path.name} accepts {bundle.model} {bundle.digest[:12]} although {', '.join(failed)} failed",
            "an acceptance without a failed gate",
            remedy,
        )
    return qualification


def main(argv: list[str] | None = None) -> int:
    """Register one model's bundle."""
    given = parser("register", __doc__, "register flights")
    given.add_argument("model")
    artifacts_option(given)
    json_option(given)
    options = given.parse_args(argv)
    settings = Settings.from_environment()
    registered = register(options.model, settings, options.artifacts, quiet if options.json else print)
    if options.json:
        print(json.dumps(asdict(registered)))
    return OK


def _attest(
    registry: Registry, what: tuple[Bundle, Qualification, Lineage], run_id: str, settings: Settings
) -> None:
    """Sign what the trainer knows and store it beside the bundle."""
    key = private_key(settings.keys, "trainer")
    bundle, qualification, source = what
    provenance = Provenance(
        model=bundle.model,
        digest=bundle.digest,
        commit=source.commit,
        dirty=source.dirty,
        dvc_lock=source.dvc_lock,
        run_id=run_id,
        registered_at=datetime.now(UTC).isoformat(timespec="seconds"),
        registered_by=settings.actor,
    )
    manifest = ManifestStatement(model=bundle.model, digest=bundle.digest)
    with scratch(settings.var) as folder:
        (folder / "manifest.json").write_bytes(sign(manifest, "manifest", key))
        (folder / "qualification.json").write_bytes(sign(qualification, "qualification", key))
        (folder / "provenance.json").write_bytes(sign(provenance, "provenance", key))
        registry.upload(run_id, folder, ATTESTATIONS)


if __name__ == "__main__":
    command(main)
