"""The real kubectl takes every command line that we write: it gets as far as a cluster that is not there."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from contract.errors import ConfigError, FlightlineError
from pipelines.delivery.kubernetes.kubectl import Kubectl
from tests.pipelines.delivery.conftest import free_ports

pytestmark = pytest.mark.kubectl

ITEM = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "one", "namespace": "here", "resourceVersion": "1"},
    "data": {},
}
CALLS: dict[str, Callable[[Kubectl], object]] = {
    "get": lambda kubectl: kubectl.get("configmap", "one"),
    "select": lambda kubectl: kubectl.select("pods", "app.kubernetes.io/name=flightline"),
    "raw": lambda kubectl: kubectl.ask_pod("one", 3000, "metrics"),
    "create": lambda kubectl: kubectl.create(ITEM),
    "replace": lambda kubectl: kubectl.replace(ITEM),
    "apply": lambda kubectl: kubectl.apply([ITEM]),
    "rollout": lambda kubectl: kubectl.rollout("flightline", 5),
    "delete": lambda kubectl: kubectl.delete("configmap", "one", "two"),
}


@pytest.fixture
def nowhere(tmp_path: Path, require, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kubeconfig whose only cluster listens nowhere."""
    require("kubectl")
    (port,) = free_ports(1)
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "none", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "nobody", "user": {}}],
        "contexts": [{"name": "nowhere", "context": {"cluster": "none", "user": "nobody"}}],
    }
    (tmp_path / "config").write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))  # kubectl keeps what it has discovered there


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize("name", sorted(CALLS))
def test_a_cluster_that_is_not_there_is_all_that_is_wrong(name: str) -> None:
    """No flag is unknown and no object unreadable; the sentence is the one about the network."""
    with pytest.raises(FlightlineError, match="namespace here of nowhere cannot be reached"):
        CALLS[name](Kubectl("nowhere", "here"))


@pytest.mark.usefixtures("nowhere")
def test_a_context_that_is_not_there_is_named() -> None:
    """Its own words are recognised."""
    with pytest.raises(ConfigError, match=r"elsewhere.*kubectl config get-contexts"):
        Kubectl("elsewhere", "here").get("configmap", "one")
