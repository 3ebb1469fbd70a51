"""MLflow with its guard, and versions in every state that a promotion may find them in."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from contract.attestation import sign
from contract.schema import Contract
from contract.statements import STAGING_CHECKS, StagingEvidence
from pipelines import ledger
from pipelines.delivery.keys import private_key
from pipelines.delivery.registry import STAGING_EVIDENCE, Registry, Version, connect
from pipelines.delivery.releases import fetch
from pipelines.machine.settings import Settings
from pipelines.register import register
from tests.pipelines.delivery.conftest import qualify, quiet, running_mlflow, settings_in, trained
from tests.pipelines.promotion.relays import Probe

AJAX = "/ajax-api/2.0/mlflow"  # what the pages of the UI call


def evidence(version: Version, *, passed: bool = True) -> StagingEvidence:
    """What staging says of a version."""
    return StagingEvidence(
        model=version.model,
        digest=version.digest,
        version=version.version,
        run_id=version.run_id,
        checks=tuple((name, passed or name != "ready", "seen") for name in STAGING_CHECKS),
        tested_at="2013-04-01T00:00:00+00:00",
    )


def witness(registry: Registry, version: Version, settings: Settings, *, passed: bool = True) -> None:
    """Put evidence on a version as staging does; the suite itself is tested elsewhere."""
    envelope = sign(evidence(version, passed=passed), "staging", private_key(settings.keys, "staging"))
    registry.tag(version, STAGING_EVIDENCE, envelope.decode())


@dataclass
class Place:
    """A guarded MLflow; `version` makes the next version of a model of this repository."""

    settings: Settings
    folder: Path
    model: str = "iris"
    seeds: Iterator[int] = field(default_factory=itertools.count)

    @property
    def registry(self) -> Registry:
        """An open connection."""
        return connect(self.settings)

    def version(
        self, *, staged: bool = True, compared: str | None = None, contract: Contract | None = None
    ) -> Version:
        """Registered, compared with what is live unless `compared` says otherwise, and staged if wanted."""
        seed = next(self.seeds)
        artifacts = self.folder / f"{self.model}-{seed}"
        bundle = trained(artifacts, model=self.model, seed=seed, contract=contract)
        live = self.live
        qualify(
            bundle, self.settings, champion=(live.digest if live else "") if compared is None else compared
        )
        made = register(self.model, self.settings, artifacts, quiet)
        version = self.registry.by_number(self.model, made.version)
        if staged:
            self.stage(version)
        return self.registry.by_number(self.model, made.version)

    def stage(self, version: Version, *, passed: bool = True) -> None:
        """Put staging's signed evidence on a version."""
        witness(self.registry, version, self.settings, passed=passed)

    @property
    def live(self) -> ledger.Placed | None:
        """What the ledger says production runs."""
        return ledger.live(ledger.read(self.settings.ledger), "production", self.model)

    def make_live(self, version: Version, action: ledger.Action = "deploy") -> None:
        """Write into the ledger that production runs a version, as a deployment does."""
        fetch(self.registry, version, self.settings)
        entry = ledger.Entry(
            at=datetime.now(UTC),
            environment="production",
            model=version.model,
            action=action,
            before=self.live,
            after=ledger.Placed(version=version.version, digest=version.digest),
            who="ada",
            why="a reason",
            evidence="",
        )
        ledger.append(self.settings.ledger, entry)

    def call(self, method: str, path: str, **body: str) -> httpx.Response:
        """A request as the UI's pages send it."""
        address = f"{self.settings.tracking_uri}{AJAX}/{path}"
        return httpx.request(method, address, json=body, timeout=60, trust_env=False)

    def put(self, alias: str, version: str, model: str = "") -> httpx.Response:
        """`Save aliases` of the dialog."""
        return self.call(
            "POST", "registered-models/alias", name=model or self.model, alias=alias, version=version
        )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A guarded MLflow with a first version of iris live, the alias on it."""
    folder = tmp_path_factory.mktemp("guarded")
    with running_mlflow(folder / "var") as settings:
        found = Place(settings, folder)
        first = found.version()
        found.make_live(first)
        found.registry.set_alias(found.model, "champion", first.version)
        yield found


@pytest.fixture
def probe(tmp_path: Path) -> Probe:
    """A relay in a place of its own."""
    return Probe(settings_in(tmp_path / "var"))
