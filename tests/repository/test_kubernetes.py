"""The rendered manifests are valid, restricted, and match the code that they start (C8, R5, R6, S9)."""

import copy

import kubernetes_validate
import pytest
import yaml

from contract.attestation import Trust
from contract.strict import decode_json
from tests.repository.manifests import DELIVERED, OVERLAYS, objections, objects, rendered, rules

pytestmark = [pytest.mark.unit, pytest.mark.kubectl]

FOLDERS = (*(f"overlays/{name}" for name in OVERLAYS), *(f"access/{name}" for name in DELIVERED))


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_manifests_are_valid_kubernetes(folder):
    """Strictly: an unknown key is an error."""
    found = list(yaml.safe_load_all(rendered(folder)))
    assert found
    for item in found:
        kubernetes_validate.validate(item, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize(("path", "value"), [("spec.replica", 4), ("spec.minReadySeconds", "five")])
def test_an_invalid_manifest_is_refused(path, value):
    """A misspelt key and a wrong type."""
    broken = change(objects("overlays/production"), f"Deployment.{path}", value)["Deployment"]
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_manifests_are_accepted(overlay):
    """Scaled, restricted, probed, and of one mind."""
    assert objections(objects(f"overlays/{overlay}"), overlay) == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_object_is_in_the_overlays_namespace(overlay):
    """Nothing is left for whichever namespace a person happens to be in."""
    spaces = {item["metadata"].get("namespace") for item in objects(f"overlays/{overlay}").values()}
    assert spaces == {f"flightline-{overlay}" if overlay in DELIVERED else "iris"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_trust_list_holds_no_key_of_anybody(overlay):
    """A manifest that came with a key would trust a stranger."""
    text = objects(f"overlays/{overlay}")["ConfigMap/trust"]["data"]["trust.json"]
    assert len(decode_json(text.encode(), Trust, "trust.json").keys) == 0


POD = "Deployment.spec.template.spec"
SERVER, LOADER = f"{POD}.containers.0", f"{POD}.initContainers.0"
WEAKER = [
    ("HorizontalPodAutoscaler.spec.minReplicas", 1, "replicas"),
    ("HorizontalPodAutoscaler.spec.scaleTargetRef.name", "other", "scaled"),
    ("HorizontalPodAutoscaler.spec.metrics.0.resource.target.averageUtilization", 100, "scaled by"),
    ("Deployment.spec.replicas", 4, "two owners of replicas"),
    ("Deployment.spec.strategy.rollingUpdate.maxUnavailable", 1, "no downtime"),
    ("Deployment.spec.progressDeadlineSeconds", 3600, "deadline"),
    ("Deployment.spec.revisionHistoryLimit", 0, "way back"),
    ("PodDisruptionBudget.spec.maxUnavailable", 0, "budget"),
    ("PodDisruptionBudget.spec.selector.matchLabels", {"app.kubernetes.io/name": "x"}, "selector"),
    ("Service.spec.selector", {"app.kubernetes.io/name": "flights"}, "selector"),
    ("Service.spec.ports.0.targetPort", "grpc", "service port"),
    ("NetworkPolicy.spec.podSelector", {}, "selector"),
    ("NetworkPolicy.spec.policyTypes", ["Ingress"], "both ways"),
    ("NetworkPolicy.spec.ingress", [{"ports": [{"port": "http"}]}], "callers"),
    ("NetworkPolicy.spec.ingress.0.ports", [{"port": 9}], "callers"),
    ("NetworkPolicy.spec.egress", [{}], "metadata"),
    (f"{POD}.securityContext.runAsNonRoot", False, "non-root"),
    (f"{POD}.securityContext.runAsUser", 0, "non-root"),
    (f"{POD}.securityContext.seccompProfile", {"type": "Unconfined"}, "seccomp"),
    (f"{POD}.automountServiceAccountToken", True, "token"),
    (f"{POD}.serviceAccountName", "default", "account"),
    (f"{POD}.hostNetwork", True, "host"),
    (f"{POD}.volumes.0", {"name": "releases", "hostPath": {"path": "/"}}, "host path"),
    (f"{POD}.volumes.0", {"name": "releases", "emptyDir": {}}, "unbounded"),
    (f"{POD}.terminationGracePeriodSeconds", 32, "grace"),
    (f"{SERVER}.env.4.value", "5", "drain"),
    (f"{SERVER}.readinessProbe.periodSeconds", 10, "drain"),
    (f"{SERVER}.readinessProbe.httpGet.path", "/livez", "ready path"),
    (f"{SERVER}.livenessProbe.httpGet.path", "/readyz", "live path"),
    (f"{SERVER}.startupProbe.failureThreshold", 3, "start"),
    (f"{SERVER}.command.2", "http.server", "server's program"),
    (f"{SERVER}.ports.0.containerPort", 3001, "server's port"),
    (f"{SERVER}.env.3.value", "request", "clock"),
    (f"{SERVER}.env.0.value", "/elsewhere", "state"),
    (f"{SERVER}.env.2.value", "/elsewhere", "predictions"),
    (f"{SERVER}.env.1.value", "/elsewhere/trust.json", "trust"),
    (f"{SERVER}.volumeMounts.5.mountPath", "/elsewhere", "scratch"),
    (f"{SERVER}.securityContext.readOnlyRootFilesystem", False, "read-only root"),
    (f"{LOADER}.securityContext.readOnlyRootFilesystem", False, "read-only root"),
    (f"{SERVER}.securityContext.allowPrivilegeEscalation", True, "escalation"),
    (f"{SERVER}.securityContext.privileged", True, "privileged"),
    (f"{SERVER}.securityContext.capabilities", {"drop": []}, "capabilities"),
    (f"{LOADER}.resources", {"requests": {"cpu": "1", "memory": "1Gi"}}, "resources"),
    (f"{SERVER}.image", "registry.example/flightline-serving:latest", "image digest"),
    (f"{SERVER}.image", "somebody/else@sha256:" + "0" * 64, "image name"),
    (f"{LOADER}.terminationMessagePolicy", "File", "last words"),
    (f"{POD}.containers.1", {"image": "a/flightline-iris@sha256:" + "0" * 64}, "one server"),
    (f"{LOADER}.command", ["sh", "-c", "cp"], "loader's program"),
    (f"{SERVER}.volumeMounts.0.name", "scratch", "shared volume"),
    (f"{SERVER}.volumeMounts.0.readOnly", False, "server writes models"),
    (f"{LOADER}.env.1.value", "/elsewhere/trust.json", "loader's trust"),
    (f"{LOADER}.env.0", {"name": "MODEL_URI", "value": "file:///x"}, "whence"),
    (f"{SERVER}.volumeMounts.1.subPath", "other.json", "desired state"),
    (f"{LOADER}.command.4", "/elsewhere.json", "desired state"),
]


@pytest.mark.parametrize(("path", "value", "objection"), WEAKER)
def test_a_weakened_manifest_is_found(path, value, objection):
    """One changed value of production, and the objection that exists for it is raised."""
    assert objection in objections(change(objects("overlays/production"), path, value), "production")


WEAKER_PATTERNS = [
    ("iris-loaded", f"{SERVER}.env.0.value", "/releases/other", "same release"),
    ("iris-loaded", f"{SERVER}.env.1", {"name": "MODEL_DIGEST", "value": "1"}, "which model"),
    ("iris-in-image", f"{POD}.initContainers", [], "nothing is fetched"),
    ("iris-in-image", f"{SERVER}.env.0.value", "/other", "baked in"),
    ("iris-in-image", "ConfigMap/model.data", {}, "which model"),
    ("iris-in-image", "NetworkPolicy.spec.egress", [{}], "baked in goes nowhere"),
]


@pytest.mark.parametrize(("overlay", "path", "value", "objection"), WEAKER_PATTERNS)
def test_a_weakened_pattern_is_found(overlay, path, value, objection):
    """The same of model-load (R6) and model-in-image (R5)."""
    assert objection in objections(change(objects(f"overlays/{overlay}"), path, value), overlay)


def test_every_rule_is_seen_to_bite():
    """Each has a line in one of the two tables."""
    every = {name for overlay in OVERLAYS for name, _ in rules(objects(f"overlays/{overlay}"), overlay)}
    assert every == {line[-1] for line in (*WEAKER, *WEAKER_PATTERNS)}


def change(found, path, value):
    """A deep copy of the objects with one value replaced or added."""
    copied = copy.deepcopy(found)
    *parents, last = path.split(".")
    place = copied
    for part in parents:
        place = place[int(part)] if isinstance(place, list) else place[part]
    if isinstance(place, list):
        place[int(last) : int(last) + 1] = [value]
    else:
        place[last] = value
    return copied
