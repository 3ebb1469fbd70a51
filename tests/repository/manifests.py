"""The manifests as a cluster would get them, and every objection that this project has to one."""

import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from serving.__main__ import GRACE_SECONDS, SLACK_SECONDS

KUBERNETES = Path(__file__).parents[2] / "infra/kubernetes"
OVERLAYS = ("staging", "production", "iris-loaded", "iris-in-image")
DELIVERED = OVERLAYS[:2]  # those that a deployer applies
DRAIN = "FLIGHTLINE_DRAIN_SECONDS"
PROBE_FAILURES = 3  # in a row: the kubelet's default
LEAST_REPLICAS = {"staging": 2}  # four elsewhere: R8

Objects = dict[str, dict[str, Any]]


@cache
def rendered(folder: str) -> str:
    """The YAML of a folder of infra/kubernetes."""
    command = ["kubectl", "kustomize", str(KUBERNETES / folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@cache  # to be read, not changed
def objects(folder: str) -> Objects:
    """Its objects by kind; the config maps by `ConfigMap/NAME`, without the hash of their content."""
    found: Objects = {}
    for item in yaml.safe_load_all(rendered(folder)):
        kind, name = item["kind"], item["metadata"]["name"]
        found[f"ConfigMap/{name.rpartition('-')[0]}" if kind == "ConfigMap" else kind] = item
    return found


def objections(found: Objects, overlay: str) -> list[str]:
    """Everything about the objects of an overlay that is not accepted, a word or two each."""
    return [name for name, right in rules(found, overlay) if not right]


def rules(found: Objects, overlay: str) -> list[tuple[str, bool]]:
    """Every rule about the objects of an overlay, and whether it is kept."""
    deployment = found["Deployment"]["spec"]
    pod = deployment["template"]["spec"]
    server = pod["containers"][0]
    labels = deployment["template"]["metadata"]["labels"]
    kept = {
        **_of_pod(pod, server),
        **_of_scale(found, overlay),
        **_of_network(found["NetworkPolicy"]["spec"], pod, overlay),
        **_of_models(found, overlay),
        "one server": len(pod["containers"]) == 1,
        "no downtime": deployment["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1},
        "deadline": 60 <= deployment.get("progressDeadlineSeconds", 600) <= 300,
        "way back": deployment.get("revisionHistoryLimit", 10) >= 2,
        "selector": all(
            selector == {"app.kubernetes.io/name": "flightline"}
            for selector in (
                deployment["selector"]["matchLabels"],
                found["Service"]["spec"].get("selector"),
                found["PodDisruptionBudget"]["spec"].get("selector", {}).get("matchLabels"),
                found["NetworkPolicy"]["spec"]["podSelector"].get("matchLabels"),
            )
        )
        and labels.get("app.kubernetes.io/name") == "flightline",
        "service port": found["Service"]["spec"]["ports"][0]["targetPort"] == server["ports"][0]["name"],
    }
    containers = [*pod.get("initContainers", ()), *pod["containers"]]
    return [*kept.items(), *(rule for container in containers for rule in _of_container(container).items())]


def _of_pod(pod: dict[str, Any], server: dict[str, Any]) -> dict[str, bool]:
    told = {item["name"]: item.get("value") for item in server["env"]}
    mounts = {mount["mountPath"]: mount for mount in server["volumeMounts"]}
    kinds = {volume["name"]: volume for volume in pod["volumes"]}
    drain = float(told.get(DRAIN) or 0)
    probes = {name: server.get(f"{name}Probe", {}) for name in ("startup", "readiness", "liveness")}
    paths = {name: probe.get("httpGet", {}).get("path") for name, probe in probes.items()}
    context = pod.get("securityContext", {})

    def writable(path: str | None) -> bool:
        mount = mounts.get(path or "", {})
        return not mount.get("readOnly") and bool(kinds.get(mount.get("name"), {}).get("emptyDir"))

    return {
        "non-root": context.get("runAsNonRoot") is True and context.get("runAsUser", 0) > 0,
        "seccomp": context.get("seccompProfile") == {"type": "RuntimeDefault"},
        "token": pod.get("automountServiceAccountToken") is False,
        "account": pod.get("serviceAccountName") == "flightline",
        "host": not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys(),
        "host path": not any("hostPath" in volume for volume in pod["volumes"]),
        "unbounded": all(
            "sizeLimit" in volume["emptyDir"] for volume in pod["volumes"] if "emptyDir" in volume
        ),
        "grace": pod.get("terminationGracePeriodSeconds", 30) >= drain + GRACE_SECONDS + SLACK_SECONDS,
        "drain": drain > PROBE_FAILURES * probes["readiness"].get("periodSeconds", 10),
        "ready path": paths["readiness"] == "/readyz",
        "live path": paths["liveness"] == paths["startup"] == "/livez",
        "start": probes["startup"].get("failureThreshold", 3) * probes["startup"].get("periodSeconds", 10)
        >= 60,  # seconds; a cold start takes 8 to 12 on an idle machine
        "server's program": server["command"][:3] == ["python", "-m", "serving"],
        "server's port": server["command"][-1] == str(server["ports"][0]["containerPort"]),
        "clock": told.get("FLIGHTLINE_CLOCK") == "wall",
        "state": writable(told.get("FLIGHTLINE_STATE")),
        "predictions": writable(told.get("FLIGHTLINE_PREDICTIONS")),
        "scratch": writable("/tmp"),  # noqa: S108 - a mount of the container
        "trust": str(Path(told.get("FLIGHTLINE_TRUST") or "/").parent) in mounts,
    }


def _of_container(container: dict[str, Any]) -> dict[str, bool]:
    context, resources = container.get("securityContext", {}), container.get("resources", {})
    name, _, digest = container["image"].partition("@")
    return {
        "read-only root": context.get("readOnlyRootFilesystem") is True,
        "escalation": context.get("allowPrivilegeEscalation") is False,
        "privileged": not context.get("privileged"),
        "capabilities": context.get("capabilities") == {"drop": ["ALL"]},
        "resources": all({"cpu", "memory"} <= resources.get(k, {}).keys() for k in ("requests", "limits")),
        "image digest": digest.startswith("sha256:") and len(digest) == len("sha256:") + 64,
        "image name": name.rpartition("/")[2] in {"flightline-serving", "flightline-iris"},
        "last words": container.get("terminationMessagePolicy") == "FallbackToLogsOnError",
    }


def _of_scale(found: Objects, overlay: str) -> dict[str, bool]:
    scaler, target = found["HorizontalPodAutoscaler"]["spec"], found["Deployment"]
    metric = scaler["metrics"][0]["resource"]
    return {
        "replicas": scaler["minReplicas"] == LEAST_REPLICAS.get(overlay, 4) < scaler["maxReplicas"],
        "two owners of replicas": "replicas" not in target["spec"],
        "scaled": scaler["scaleTargetRef"]
        == {"apiVersion": target["apiVersion"], "kind": "Deployment", "name": target["metadata"]["name"]},
        "scaled by": metric["name"] == "cpu" and 0 < metric["target"]["averageUtilization"] < 100,
        "budget": found["PodDisruptionBudget"]["spec"].get("maxUnavailable") == 1,
    }


def _of_network(policy: dict[str, Any], pod: dict[str, Any], overlay: str) -> dict[str, bool]:
    everywhere = [
        peer["ipBlock"]
        for rule in policy.get("egress", [{}])
        for peer in rule.get("to", [{"ipBlock": {"cidr": "0.0.0.0/0"}}])
        if "ipBlock" in peer
    ]
    return {
        "both ways": policy["policyTypes"] == ["Ingress", "Egress"],
        "callers": all(rule.get("from") for rule in policy["ingress"])
        and [port["port"] for rule in policy["ingress"] for port in rule.get("ports", [{"port": "*"}])]
        == [pod["containers"][0]["ports"][0]["name"]],
        "metadata": all("169.254.0.0/16" in block.get("except", ()) for block in everywhere),
        "baked in goes nowhere": overlay != "iris-in-image" or policy["egress"] == [],
    }


def _of_models(found: Objects, overlay: str) -> dict[str, bool]:
    """Where loader, server and what they are told differ from one another."""
    pod = found["Deployment"]["spec"]["template"]["spec"]
    server = pod["containers"][0]
    told = {item["name"]: item for item in server["env"]}
    if overlay == "iris-in-image":
        return {
            "nothing is fetched": "initContainers" not in pod,
            "baked in": told["FLIGHTLINE_BUNDLE"]["value"] == "/release",
            "which model": _from_map(told, "MODEL_DIGEST", found),
        }
    loader = pod["initContainers"][0]
    mounts = {
        name: {mount["mountPath"]: mount for mount in container["volumeMounts"]}
        for name, container in (("loader", loader), ("server", server))
    }
    kinds = {volume["name"]: volume for volume in pod["volumes"]}
    shared = mounts["loader"].get("/releases", {}).get("name")
    variables = {item["name"]: item for item in loader["env"]}
    common = {
        "loader's program": loader["command"][:3] == ["python", "-m", "serving.loader"],
        "shared volume": "emptyDir" in kinds.get(shared, {})
        and mounts["server"].get("/releases", {}).get("name") == shared,
        "server writes models": mounts["server"].get("/releases", {}).get("readOnly") is True,
        "loader's trust": variables.get("FLIGHTLINE_TRUST") == told["FLIGHTLINE_TRUST"],
        "whence": "configMapKeyRef" in variables.get("MODEL_URI", {}).get("valueFrom", {}),
    }
    if overlay == "iris-loaded":
        target = loader["command"][-1]
        return {
            **common,
            "same release": told["FLIGHTLINE_BUNDLE"]["value"] == target,
            "which model": _from_map(told, "MODEL_DIGEST", found)
            and _from_map(variables, "MODEL_URI", found),
        }
    one = mounts["server"].get(f"{told['FLIGHTLINE_STATE']['value']}/desired.json", {})
    return {
        **common,
        "desired state": loader["command"][3:] == ["--desired", "/desired/desired.json"]
        and one.get("subPath") == "desired.json"
        and one.get("name") == mounts["loader"].get("/desired", {}).get("name")
        and kinds.get(one.get("name"), {}).get("configMap") == {"name": "flightline-models"},
    }


def _from_map(told: dict[str, dict[str, Any]], name: str, found: Objects) -> bool:
    """Whether variable `name` comes from the config map of the model, which has it."""
    reference = told.get(name, {}).get("valueFrom", {}).get("configMapKeyRef", {})
    model = found["ConfigMap/model"]
    return reference.get("name") == model["metadata"]["name"] and reference.get("key") in model["data"]
