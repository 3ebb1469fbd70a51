"""An environment on a cluster: its desired state in a config map, its pods replaced when that changes.

How the one maps to the other: infra/decisions/0011.
"""

import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from contract.errors import FlightlineError
from pipelines.delivery import services
from pipelines.delivery.kubernetes import manifests
from pipelines.delivery.kubernetes.kubectl import ConflictError, Kubectl
from pipelines.delivery.kubernetes.manifests import COPY, HEAD, PORT, RELEASES, SELECTOR, SERVER, Item
from pipelines.delivery.kubernetes.pods import complaint, is_ready
from pipelines.delivery.kubernetes.storage import publish
from pipelines.delivery.next_state import champions, next_state
from pipelines.machine.cluster import Cluster
from pipelines.machine.processes import Say
from pipelines.machine.settings import ROOT, Settings
from serving.models.desired import Desired, DesiredModel

TRIES = 5  # at writing beside somebody who does not touch champions
ANSWER_S = 30.0  # for the Service to lead to the new pods alone, once all of them are available
EMPTY = Desired(generation=0, default="", models={})


@dataclass(frozen=True)
class KubernetesBackend:
    """The Deployment of `environment`, and what is around it."""

    environment: str
    settings: Settings
    cluster: Cluster
    kubectl: Kubectl
    overlay: Path

    @classmethod
    def of(cls, environment: str, settings: Settings) -> "KubernetesBackend":
        """The backend of an environment that has a cluster.

        Raises:
            ConfigError: its cluster is not told where it is.
        """
        declared = settings.environment(environment)
        cluster = declared.require_cluster(environment)
        kubectl = Kubectl(cluster.context, cluster.namespace)
        folder = ROOT / "infra" / "kubernetes" / "overlays" / cluster.overlay
        return cls(environment, settings, cluster, kubectl, folder)

    @property
    def url(self) -> str:
        """The Service, as this machine reaches it."""
        return self.settings.service_url(self.environment)

    def ensure(self, say: Say = print) -> None:
        """Apply the overlay; where something is desired, its pods, too."""
        desired = self.desired()
        items = self._overlay()
        if desired is None or not desired.models:
            items = [item for item in items if item["kind"] != "Deployment"]
            self.kubectl.apply(items)
            return
        if not self.running():
            say(f"{self.environment}: starting pods in {self.cluster.namespace} of {self.cluster.context}")
        self._deploy(desired, items)

    def running(self) -> bool:
        """Whether there is a Deployment."""
        return self.kubectl.get("deployment", SERVER) is not None

    def desired(self) -> Desired | None:
        """What the newest config map says."""
        return self._head()[0]

    def desire(self, wanted: Mapping[str, DesiredModel], exact: Collection[str] = ()) -> int:
        """Write the next generation; pods that run are replaced, and nobody waits for it."""
        running = self.running()
        desired = self._write(wanted, exact)
        if running:
            self._serve(desired)
        return desired.generation

    def converge(self, wanted: Mapping[str, DesiredModel], exact: Collection[str] = ()) -> int:
        """Write the next generation, and wait until every pod is one that was started for it."""
        desired = self._write(wanted, exact)
        self._serve(desired)
        if desired.models:
            self._await(desired)
        return desired.generation

    def ready(self) -> bool:
        """Whether /readyz answers 200 at the Service."""
        return services.ready(self.environment, self.settings)

    def intact(self, wanted: Mapping[str, DesiredModel]) -> bool:
        """Whether the config map has the champions of `wanted`, and every pod is available and of it."""
        desired = self.desired()
        if desired is None or champions(desired.models) != champions(wanted):
            return False
        if services.unfinished(self.environment, self.settings):
            return False
        found = self.kubectl.get("deployment", SERVER)
        return found is not None and _complete(found) and manifests.models_of(found) == self._copy_of(desired)

    def metrics(self) -> tuple[str, ...]:
        """What each pod that is ready and of the newest state counts, asked through the API server."""
        desired = self.desired()
        copy = self._copy_of(desired) if desired else ""
        pods = [pod for pod in self.kubectl.select("pods", SELECTOR) if manifests.models_of(pod) == copy]
        names = sorted(pod["metadata"]["name"] for pod in pods if is_ready(pod))
        if not names:
            raise FlightlineError(
                f"{self.environment} has no pod that is ready", "what its pods count", "Look at its status"
            )
        return tuple(self.kubectl.ask_pod(name, PORT, "metrics") for name in names)

    def lacking(self, wait_s: float = 15.0) -> str:
        """What its pods complain of, or that the Service does not answer."""
        desired = self.desired()
        if desired is None or not desired.models:
            return "no model is deployed yet"
        deadline = time.monotonic() + wait_s
        while not self.ready():
            if time.monotonic() > deadline:
                why = self._complaint(desired) or f"{self.url} does not say that it is ready"
                return f"not ready: {why}"
            threading.Event().wait(0.2)
        return ""

    def stop(self) -> bool:
        """Remove the Deployment, and with it its pods; everything else stays."""
        ran = self.running()
        self.kubectl.delete("deployment", SERVER)
        return ran

    def _head(self) -> tuple[Desired | None, str]:
        """The newest desired state, and the version of the object that it was read from."""
        item = self.kubectl.get("configmap", HEAD)
        if item is None:
            return None, ""
        return manifests.read_head(item, self.settings.releases), item["metadata"]["resourceVersion"]

    def _write(self, wanted: Mapping[str, DesiredModel], exact: Collection[str]) -> Desired:
        """The next generation, written over the one that it was made of and over no other.

        Raises:
            ConflictError: somebody else has changed a champion meanwhile.
        """
        first, version = before, _ = self._head()
        left = services.unfinished(self.environment, self.settings)
        for _ in range(TRIES):
            desired = next_state(before, wanted, {*exact, *left})
            told = manifests.relocated(desired, RELEASES)
            try:
                if version:
                    self.kubectl.replace(manifests.head(told, self.cluster.namespace, version))
                else:
                    self.kubectl.create(manifests.head(told, self.cluster.namespace))
            except ConflictError:
                before, version = self._head()
                if _champions(before) != _champions(first):
                    break
            else:
                services.end_rollouts(self.environment, wanted, left, self.settings)
                return desired
        raise ConflictError(
            f"what {self.environment} should serve was changed by somebody else at the same moment",
            "one change at a time",
            "Run the command again: it decides on what is live by then",
        )

    def _serve(self, desired: Desired) -> None:
        """Have the Deployment be of `desired`; without a model there is none."""
        if desired.models:
            self._deploy(desired, [manifests.deployment(self._overlay(), self.overlay)])
        else:
            self.kubectl.delete("deployment", SERVER)

    def _deploy(self, desired: Desired, items: list[Item]) -> None:
        for digest in sorted(
            {v.digest for model in desired.models.values() for v in model.versions.values()}
        ):
            publish(self.settings.releases / digest, self.cluster.releases)
        copy = self._models(desired)
        name = copy["metadata"]["name"]
        others = [item for item in items if item["kind"] != "Deployment"]
        ours = manifests.serving(manifests.deployment(items, self.overlay), name, desired.generation)
        self.kubectl.apply([*others, copy, ours])

    def _await(self, desired: Desired) -> None:
        """Wait until every pod is of `desired` and the Service leads to them."""
        try:
            self.kubectl.rollout(SERVER, self.cluster.deadline_s)
        except FlightlineError as error:
            why = self._complaint(desired)
            raise FlightlineError(
                f"{self.environment} refused generation {desired.generation}: {why or error.found}",
                "pods that become ready",
                "What ran before keeps running",
            ) from error
        found = self.kubectl.get("deployment", SERVER)
        if found is None or manifests.models_of(found) != self._copy_of(desired):
            raise ConflictError(
                f"{self.environment} was given other models while it was waited for",
                "one change at a time",
                "Run the command again: it decides on what is live by then",
            )
        self._await_answers(desired)
        self._tidy(self._copy_of(desired))

    def _await_answers(self, desired: Desired) -> None:
        wanted = {name: model.digest for name, model in desired.models.items()}
        deadline = time.monotonic() + ANSWER_S
        while True:
            answers = self._served()
            if answers == wanted and self.ready():
                return
            if time.monotonic() > deadline:
                raise FlightlineError(
                    f"{self.url} answers with {answers or 'nothing'}",
                    f"{wanted}, which every pod of {self.environment} has",
                    "Look where the URL leads, and at the Service and the network policy",
                )
            threading.Event().wait(0.2)

    def _served(self) -> dict[str, str]:
        """The digests that a pod behind the Service answers with; empty where none answers."""
        try:
            answer = httpx.get(f"{self.url}/status", timeout=5.0, trust_env=False)
            return dict(answer.raise_for_status().json()["served"])
        except (httpx.HTTPError, ValueError, KeyError):
            return {}

    def _complaint(self, desired: Desired) -> str:
        return complaint(self.kubectl.select("pods", SELECTOR), self._copy_of(desired))

    def _tidy(self, current: str) -> None:
        """Remove the copies that no way back leads to."""
        label = ",".join(f"{key}={value}" for key, value in COPY.items())
        needed = {manifests.models_of(item) for item in self.kubectl.select("replicasets", SELECTOR)} | {
            current
        }
        names = sorted(item["metadata"]["name"] for item in self.kubectl.select("configmaps", label))
        gone = [name for name in names if name not in needed]
        if gone:
            self.kubectl.delete("configmap", *gone)

    def _overlay(self) -> list[Item]:
        text = self.kubectl.kustomize(str(self.overlay))
        return manifests.overlay(text, self.overlay, self.cluster.namespace)

    def _models(self, desired: Desired) -> Item:
        told = manifests.relocated(desired, RELEASES)
        return manifests.models_map(told, self.cluster.releases, self.cluster.namespace)

    def _copy_of(self, desired: Desired) -> str:
        return str(self._models(desired)["metadata"]["name"])


def _champions(desired: Desired | None) -> dict[str, tuple[str, str, str]]:
    return champions((desired or EMPTY).models)


def _complete(found: Item) -> bool:
    """Whether a Deployment has acted on its newest specification, and every pod is available and of it."""
    status = found.get("status", {})
    counts = {status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas")}
    acted = status.get("observedGeneration", 0) >= found["metadata"].get("generation", 0)
    return acted and len(counts) == 1 and counts != {0}
