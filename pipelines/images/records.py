"""What is kept of an image: a record on this machine, and a tag on the version, where a person sees it."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from contract.strict import encode_json
from pipelines.delivery.registry import Registry, Version
from pipelines.delivery.releases import Release
from pipelines.images.making import Made
from pipelines.machine.files import replace
from pipelines.machine.settings import Settings
from pipelines.staging.checks import Check

IMAGE = "image"  # tag of a version: name, id and time of its image, as JSON


@dataclass(frozen=True)
class Record:
    """One attempt at an image of a version."""

    name: str
    model: str
    version: str
    digest: str  # of the bundle
    commit: str  # that the model was trained from
    at: str  # ISO 8601 UTC
    result: str  # released or refused
    # All but the checks is empty where it was refused.
    created: bool = False  # and not there already
    id: str = ""  # of the image, which is the sha256 of its configuration
    size: int = 0  # bytes, with the layers that it shares with others
    layers: tuple[str, ...] = ()
    serving: str = ""  # the generic image that it stands on
    code: str = ""
    checks: tuple[Check, ...] = ()
    pushed: str = ""  # REPOSITORY@DIGEST, as manifests name it


def released(made: Made, release: Release, version: str, at: datetime, pushed: str = "") -> Record:
    """The record of an image that passed."""
    return Record(
        name=made.name,
        model=release.bundle.model,
        version=version,
        digest=release.bundle.digest,
        commit=release.provenance.commit,
        at=at.isoformat(timespec="seconds"),
        result="released",
        created=made.created,
        id=made.image.id,
        size=made.image.size,
        layers=made.image.layers,
        serving=made.serving,
        code=made.code,
        checks=made.checks,
        pushed=pushed,
    )


def refused(name: str, checks: Sequence[Check], release: Release, version: str, at: datetime) -> Record:
    """The record of an image that did not pass."""
    return Record(
        name=name,
        model=release.bundle.model,
        version=version,
        digest=release.bundle.digest,
        commit=release.provenance.commit,
        at=at.isoformat(timespec="seconds"),
        result="refused",
        checks=tuple(checks),
    )


def path(record: Record, settings: Settings) -> Path:
    """Where it is kept: a refusal beside the record of the image that a version has, if it has one."""
    ending = "json" if record.result == "released" else "refused.json"
    return settings.var / "images" / record.model / f"{record.version}.{ending}"


def keep(record: Record, settings: Settings) -> None:
    """Write the record in place of the one before, unless that is of the same image and knows its tests."""
    where = path(record, settings)
    if record.result == "released":
        # What was refused before is not so any more.
        path(dataclasses.replace(record, result="refused"), settings).unlink(missing_ok=True)
        if not record.created and not record.pushed and where.is_file():
            before = json.loads(where.read_bytes())
            if before.get("id") == record.id:
                return
    replace(where, encode_json(asdict(record)))


def note(record: Record, registry: Registry, version: Version) -> None:
    """Write on the version which image it has, unless that stands there."""
    seen = json.loads(version.tags.get(IMAGE, "{}"))
    facts = {"name": record.name, "id": record.id, "pushed": record.pushed or seen.get("pushed", "")}
    if {name: seen.get(name) for name in facts} != facts:
        registry.tag(version, IMAGE, json.dumps({**facts, "at": record.at}))
