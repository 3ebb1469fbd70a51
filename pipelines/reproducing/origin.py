"""A registered version and what it was made from, as the registry keeps it and the trainer signed it."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from contract.bundle import Bundle
from contract.errors import ConfigError, FlightlineError
from contract.statements import Provenance
from contract.strict import decode_json, encode_json
from pipelines.building.runs import git
from pipelines.delivery.registry import Registry, Version
from pipelines.delivery.releases import fetch
from pipelines.machine.settings import Settings
from pipelines.track import LINEAGE

_NAME = re.compile(r"(?P<model>[\w-]+)@(?P<version>[\w.-]+)")


@dataclass(frozen=True)
class Origin:
    """The verified bundle of a version, its metrics, and the files that a rebuild starts from."""

    version: Version
    bundle: Bundle
    provenance: Provenance
    metrics: dict[str, float | None]
    lineage: Path  # holds LINEAGE
    doubts: tuple[str, ...]  # why a rebuild may differ, known before it begins


def find(registry: Registry, text: str) -> Version:
    """The version that `MODEL@VERSION` or `MODEL@ALIAS` names.

    Raises:
        FlightlineError: it names nothing.
    """
    match = _NAME.fullmatch(text)
    if match is None:
        raise ConfigError(
            f"'{text}' names no version", "MODEL@VERSION or MODEL@ALIAS", "Write it as flights@champion"
        )
    if match["version"].isdigit():
        return registry.by_number(match["model"], match["version"])
    return registry.by_alias(match["model"], match["version"])


def read(registry: Registry, version: Version, settings: Settings, folder: Path) -> Origin:
    """Fetch and verify what `version` was made from; downloads go to `folder`.

    Raises:
        FlightlineError: the release does not verify, its lineage is incomplete, or its commit is not here.
    """
    release = fetch(registry, version, settings)
    lineage = registry.download(version.run_id, "lineage", folder)
    report = registry.download(version.run_id, "report", folder)
    for path in (*(lineage / name for name in LINEAGE), report / "metrics.json"):
        if not path.is_file():
            raise FlightlineError(
                f"run {version.run_id} of {version.model} version {version.version} keeps no {path.name}",
                f"{', '.join(LINEAGE)} and the metrics, as `python -m pipelines.track` stores them",
                "This version cannot be built again",
            )
    _require_commit(release.provenance, version, settings)
    return Origin(
        version=version,
        bundle=release.bundle,
        provenance=release.provenance,
        metrics=decode_json((report / "metrics.json").read_bytes(), dict[str, float | None], "metrics.json"),
        lineage=lineage,
        doubts=tuple(_doubts(release.bundle, release.provenance, lineage)),
    )


def _require_commit(provenance: Provenance, version: Version, settings: Settings) -> None:
    what = f"{version.model} version {version.version}"
    if not provenance.commit:
        raise FlightlineError(
            f"{what} was built outside a git repository", "a commit to build from", "It cannot be built again"
        )
    try:
        git(settings, "cat-file", "-e", f"{provenance.commit}^{{commit}}")
    except FlightlineError:
        raise FlightlineError(
            f"{what} was built from commit {provenance.commit[:12]}, which is not in this clone",
            "that commit",
            "Fetch it: git fetch --all (or --unshallow), then run this again",
        ) from None


def _doubts(bundle: Bundle, provenance: Provenance, lineage: Path) -> Iterator[str]:
    if provenance.dirty:
        yield "the checkout had changes that were not committed when it was registered: its code is not known"
    lock = hashlib.sha256((lineage / "dvc.lock").read_bytes()).hexdigest()
    if lock != provenance.dvc_lock:
        yield (
            f"dvc.lock of the lineage has sha256 {lock[:12]}, "
            f"the trainer signed {provenance.dvc_lock[:12] or 'none'}"
        )
    params = params_hash(lineage / "params.yaml", bundle.model)
    if params != bundle.environment.params:
        yield (
            f"params.yaml of the lineage has sha256 {params[:12]} for {bundle.model}, "
            f"the bundle was made with {bundle.environment.params[:12]}"
        )


def params_hash(path: Path, model: str) -> str:
    """The hash of a model's parameters as `package` takes it, without what no build depends on.

    Raises:
        ConfigError: the file is not YAML, or has no such section.
    """
    try:
        everything: Any = yaml.safe_load(path.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        everything = None
    if not isinstance(everything, dict) or not isinstance(everything.get(model), dict):
        raise ConfigError(
            f"params.yaml of the lineage has no section '{model}'",
            "the parameters of the version",
            "The run's artifacts were changed; this version cannot be built again",
        )
    section = {key: value for key, value in everything[model].items() if key != "tune"}
    return hashlib.sha256(encode_json(section)).hexdigest()
