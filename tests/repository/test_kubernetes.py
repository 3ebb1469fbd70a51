"""The manifest of the model-load pattern is valid, restricted, and matches the code that it starts."""

import copy
import json
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from contract.attestation import Trust
from contract.strict import decode_json
from serving.__main__ import GRACE_SECONDS
from serving.models import desired

pytestmark = pytest.mark.unit

DRAIN = "FLIGHTLINE_DRAIN_SECONDS"
PATH = Path(__file__).parents[2] / "infra/kubernetes/iris.yaml"


def documents() -> dict[str, dict]:
    """The manifest's objects by kind."""
    return {item["kind"]: item for item in yaml.safe_load_all(PATH.read_text())}


def objections(objects: dict[str, dict]) -> list[str]:
    """Everything about a manifest that this project does not accept, a word or two each."""
    deployment, config = objects["Deployment"]["spec"], objects["ConfigMap"]["data"]
    pod = deployment["template"]["spec"]
    loader, server = pod["initContainers"][0], pod["containers"][0]
    found = []

    def accept(name: str, *, when: bool) -> None:
        if not when:
            found.append(name)

    accept("replicas", when=deployment["replicas"] == 4)
    accept("budget", when=0 < objects["PodDisruptionBudget"]["spec"]["minAvailable"] < 4)
    accept("non-root", when=pod["securityContext"].get("runAsNonRoot") is True)
    accept("seccomp", when=pod["securityContext"].get("seccompProfile") == {"type": "RuntimeDefault"})
    accept("token", when=pod.get("automountServiceAccountToken") is False)
    drain = float(next((item["value"] for item in server["env"] if item["name"] == DRAIN), "0"))
    accept("grace", when=pod.get("terminationGracePeriodSeconds", 30) > GRACE_SECONDS + drain)
    # The kubelet's default is three failures in a row.
    accept("drain", when=drain > 3 * server.get("readinessProbe", {}).get("periodSeconds", 10))
    for container in (loader, server):
        context, resources = container.get("securityContext", {}), container.get("resources", {})
        accept("read-only root", when=context.get("readOnlyRootFilesystem") is True)
        accept("escalation", when=context.get("allowPrivilegeEscalation") is False)
        accept("capabilities", when=context.get("capabilities") == {"drop": ["ALL"]})
        accept(
            "resources",
            when=all({"cpu", "memory"} <= resources.get(k, {}).keys() for k in ("requests", "limits")),
        )
        accept("image tag", when=container["image"].partition(":")[2] not in {"", "latest"})
        accept("image name", when=container["image"].partition(":")[0].endswith("flightline-serving"))
    accept("ready path", when=server.get("readinessProbe", {}).get("httpGet", {}).get("path") == "/readyz")
    accept("live path", when=server.get("livenessProbe", {}).get("httpGet", {}).get("path") == "/livez")
    accept("selector", when=deployment["selector"]["matchLabels"] == objects["Service"]["spec"]["selector"])
    return found + disagreements(config, pod, loader, server)


def disagreements(config: dict, pod: dict, loader: dict, server: dict) -> list[str]:
    """Where the loader, the server and what the server is told differ from one another."""
    state = decode_json(config["desired.json"].encode(), desired.Desired, "desired.json")
    wanted = state.models["iris"].champion
    target = loader["command"][loader["command"].index("--to") + 1]
    mounts = {
        name: {mount["mountPath"]: mount for mount in container["volumeMounts"]}
        for name, container in (("loader", loader), ("server", server))
    }
    folder = str(Path(target).parent)
    shared = {mounts[name].get(folder, {}).get("name") for name in mounts}
    kinds = {volume["name"]: set(volume) - {"name"} for volume in pod["volumes"]}
    named = {
        item["name"]: item.get("valueFrom", {}).get("configMapKeyRef", {}).get("key")
        for item in loader["env"]
    }
    told = {item["name"]: item.get("value") for item in server["env"]}
    rules = {
        "loader's program": loader["command"][:3] == ["python", "-m", "serving.loader"],
        "server's program": server["command"][:3] == ["python", "-m", "serving"],
        "server's port": server["command"][-1] == str(server["ports"][0]["containerPort"]),
        "shared volume": len(shared) == 1 and None not in shared and kinds[shared.pop()] == {"emptyDir"},
        "server writes models": mounts["server"].get(folder, {}).get("readOnly") is True,
        "model by variable": named.get("MODEL_URI") == "MODEL_URI"
        and named.get("MODEL_DIGEST") == "MODEL_DIGEST",
        "release folder": wanted.release == target,
        "digest": wanted.digest == config["MODEL_DIGEST"] and len(wanted.digest) == 64,
        "state": f"{told.get('FLIGHTLINE_STATE')}/desired.json" in mounts["server"],
        "trust": str(Path(told.get("FLIGHTLINE_TRUST") or "/").parent) in mounts["server"],
        "predictions": told.get("FLIGHTLINE_PREDICTIONS") in mounts["server"],
        "clock": told.get("FLIGHTLINE_CLOCK") == "wall",
    }
    return [name for name, right in rules.items() if not right]


def test_the_manifest_is_valid_kubernetes():
    """Strictly: an unknown key is an error."""
    for item in documents().values():
        kubernetes_validate.validate(item, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize(("path", "value"), [("spec.replica", 4), ("spec.replicas", "four")])
def test_an_invalid_manifest_is_refused(path, value):
    """A misspelt key and a wrong type."""
    broken = change(documents(), f"Deployment.{path}", value)["Deployment"]
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, kubernetes_validate.latest_version(), strict=True)


def test_the_manifest_is_accepted():
    """Four replicas, restricted, probed, and of one mind."""
    assert objections(documents()) == []


def test_the_trust_list_holds_no_key_of_anybody():
    """A manifest that came with a key would trust a stranger."""
    text = documents()["ConfigMap"]["data"]["trust.json"]
    assert len(decode_json(text.encode(), Trust, "trust.json").keys) == 0


POD = "Deployment.spec.template.spec"
WANTED = {"default": "1", "versions": {"1": {"release": "/models/iris", "digest": "1" * 64}}}


@pytest.mark.parametrize(
    ("path", "value", "objection"),
    [
        ("Deployment.spec.replicas", 1, "replicas"),
        ("PodDisruptionBudget.spec.minAvailable", 4, "budget"),
        (f"{POD}.securityContext.runAsNonRoot", False, "non-root"),
        (f"{POD}.securityContext.seccompProfile", {"type": "Unconfined"}, "seccomp"),
        (f"{POD}.automountServiceAccountToken", True, "token"),
        (f"{POD}.containers.0.env.4.value", "1", "drain"),
        (f"{POD}.terminationGracePeriodSeconds", 25, "grace"),
        (f"{POD}.terminationGracePeriodSeconds", 5, "grace"),
        (f"{POD}.initContainers.0.securityContext.readOnlyRootFilesystem", False, "read-only root"),
        (f"{POD}.containers.0.securityContext.readOnlyRootFilesystem", False, "read-only root"),
        (f"{POD}.containers.0.securityContext.allowPrivilegeEscalation", True, "escalation"),
        (f"{POD}.containers.0.securityContext.capabilities", {"drop": []}, "capabilities"),
        (f"{POD}.containers.0.resources", {"requests": {"cpu": "1", "memory": "1Gi"}}, "resources"),
        (f"{POD}.containers.0.image", "flightline-serving:latest", "image tag"),
        (f"{POD}.containers.0.image", "somebody/else:1", "image name"),
        (f"{POD}.containers.0.readinessProbe.httpGet.path", "/livez", "ready path"),
        (f"{POD}.containers.0.livenessProbe.httpGet.path", "/readyz", "live path"),
        ("Service.spec.selector", {"app.kubernetes.io/name": "flights"}, "selector"),
        (f"{POD}.initContainers.0.command", ["sh", "-c", "cp", "--to", "/models/iris"], "loader's program"),
        (f"{POD}.containers.0.ports.0.containerPort", 3001, "server's port"),
        (f"{POD}.containers.0.volumeMounts.0.name", "scratch", "shared volume"),
        (f"{POD}.containers.0.volumeMounts.0.readOnly", False, "server writes models"),
        (f"{POD}.initContainers.0.env.0", {"name": "MODEL_URI", "value": "file:///x"}, "model by variable"),
        (f"{POD}.initContainers.0.command.4", "/models/other", "release folder"),
        ("ConfigMap.data.MODEL_DIGEST", "1" * 64, "digest"),
        (f"{POD}.containers.0.env.0.value", "/elsewhere", "state"),
        (f"{POD}.containers.0.env.3.value", "request", "clock"),
    ],
)
def test_a_weakened_manifest_is_found(path, value, objection):
    """One changed value, and the objection that exists for it is raised."""
    assert objection in objections(change(documents(), path, value))


def test_another_digest_for_the_server_than_for_the_loader_is_found():
    """The server must be told of the model that was verified."""
    objects = documents()
    text = json.dumps({"generation": 1, "default": "iris", "models": {"iris": WANTED}})
    assert "digest" in objections(change(objects, "ConfigMap.data.desired:json", text))


def change(objects: dict[str, dict], path: str, value: object) -> dict[str, dict]:
    """A deep copy of `objects` with one value replaced; a `:` in a path stands for a dot in a key."""
    copied = copy.deepcopy(objects)
    *parents, last = [part.replace(":", ".") for part in path.split(".")]
    place: object = copied
    for part in parents:
        place = place[int(part)] if isinstance(place, list) else place[part]
    place[int(last) if isinstance(place, list) else last] = value
    return copied
