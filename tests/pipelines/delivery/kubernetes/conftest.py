"""A cluster of its own for every test of the kubernetes backend."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from contract.strict import encode_json
from pipelines.delivery.kubernetes.backend import KubernetesBackend
from pipelines.machine.settings import Settings
from serving.models.desired import DesiredModel
from tests.conftest import make_release
from tests.pipelines.delivery.conftest import settings_in
from tests.pipelines.delivery.kubernetes.fake_cluster import CONTEXT, FakeCluster, answering


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
