"""A cluster of its own for every test of the kubernetes backend."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from contract.strict import encode_json
from pipelines.delivery.keys import ensure_keys
from pipelines.delivery.kubernetes.backend import KubernetesBackend
from pipelines.delivery.services import ensure_service, stop_service
from pipelines.machine.settings import Settings
from serving.models.desired import DesiredModel
from tests.conftest import make_release
from tests.pipelines.delivery.conftest import World, quiet, settings_in
from tests.pipelines.delivery.kubernetes.fake_cluster import CONTEXT, FakeCluster, answering

PLACES = ("staging", "production")


@dataclass(frozen=True)
class Place:
    """Production on a cluster, and releases to put there."""

    cluster: FakeCluster
    settings: Settings
    digests: dict[str, str]  # by version

    @property
    def backend(self) -> KubernetesBackend:
        """What is tested."""
        return KubernetesBackend.of("production", self.settings)

    def wanted(self, version: str, model: str = "toy") -> dict[str, DesiredModel]:
        """One model in one version."""
        digest = self.digests[version]
        return {model: DesiredModel.of(version, str(self.settings.releases / digest), digest)}


@pytest.fixture
def place(tmp_path: Path, require, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """An empty namespace; versions 1 and 2 of a model are kept here, as the deployer keeps them."""
    first = make_release(tmp_path / "made-1", seed=1)
    var, kept = tmp_path / "var", {}
    for version, made in (("1", first), ("2", make_release(tmp_path / "made-2", seed=2, key=first.key))):
        shutil.copytree(made.path, var / "releases" / made.digest)
        kept[version] = made.digest
    trust = tmp_path / "trust-list.json"
    trust.write_bytes(encode_json(first.trust))
    (tmp_path / "cluster").mkdir()
    cluster = FakeCluster.make(tmp_path / "cluster", require("kubectl"), trust)
    for name, value in cluster.variables.items():
        monkeypatch.setenv(name, value)
    with answering(cluster, "flightline-production") as url:
        settings = settings_in(
            var,
            FLIGHTLINE_PRODUCTION_BACKEND="kubernetes",
            FLIGHTLINE_PRODUCTION_CONTEXT=CONTEXT,
            FLIGHTLINE_PRODUCTION_URL=url,
            FLIGHTLINE_PRODUCTION_RELEASES=str(tmp_path / "storage"),
        )
        yield Place(cluster, settings, kept)


def told(place: Place) -> dict[str, object]:
    """The desired state on the cluster."""
    found: dict[str, object] = json.loads(
        place.cluster.one("configmap/flightline-desired")["data"]["desired.json"]
    )
    return found


@pytest.fixture
def clustered(
    world: World, tmp_path: Path, require, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[World, FakeCluster]]:
    """Staging and production on a cluster, whose pods are one service each; MLflow is the other tests'."""
    var, folder = tmp_path / "var", tmp_path / "cluster"
    tracking = {"MLFLOW_TRACKING_URI": world.settings.tracking_uri}
    here = settings_in(var, **tracking)
    ensure_keys(here.keys)
    folder.mkdir()
    cluster = FakeCluster.make(folder, require("kubectl"), here.trust)
    for name, value in cluster.variables.items():
        monkeypatch.setenv(name, value)
    variables = dict(tracking)
    for name in PLACES:
        variables |= {
            f"FLIGHTLINE_{name.upper()}_BACKEND": "kubernetes",
            f"FLIGHTLINE_{name.upper()}_CONTEXT": CONTEXT,
            f"FLIGHTLINE_{name.upper()}_URL": here.service_url(name),
            f"FLIGHTLINE_{name.upper()}_RELEASES": str(tmp_path / "storage"),
        }
    behind = {
        f"flightline-{name}": {"state": str(here.state(name)), "url": here.service_url(name)}
        for name in PLACES
    }
    cluster.configure(services=behind, loading=True)
    try:
        for name in PLACES:
            ensure_service(name, here, quiet)
        yield World(Settings.from_environment({**here.variables(), **variables}), tmp_path), cluster
    finally:
        cluster.end()
        for name in PLACES:
            stop_service(name, here)
