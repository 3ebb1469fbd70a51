"""Why the pods of a deployment do not come up, in their own words."""

from collections.abc import Iterator, Sequence
from typing import Any

from pipelines.delivery.kubernetes.manifests import models_of

IMAGE = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}


def is_ready(pod: dict[str, Any]) -> bool:
    """Whether the Service leads to the pod."""
    conditions = pod.get("status", {}).get("conditions", ())
    return any((item.get("type"), item.get("status")) == ("Ready", "True") for item in conditions)


def complaint(pods: Sequence[dict[str, Any]], models: str) -> str:
    """The first thing that a pod with the config map `models` complains of; empty where none does."""
    found = [sentence for pod in pods if models_of(pod) == models for sentence in _of_pod(pod)]
    return found[0] if found else ""


def _of_pod(pod: dict[str, Any]) -> Iterator[str]:
    status = pod.get("status", {})
    for container in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        name = container["name"]
        waiting = container.get("state", {}).get("waiting", {})
        if waiting.get("reason") in IMAGE:
            yield f"the image of {name} cannot be pulled ({waiting.get('message') or waiting['reason']})"
        for state in (container.get("state", {}), container.get("lastState", {})):
            ended = state.get("terminated", {})
            if ended.get("exitCode", 0) != 0:
                words = [line for line in str(ended.get("message", "")).splitlines() if line.strip()]
                last = words[-1].removeprefix("error: ").rstrip(".") if words else ended.get("reason", "")
                yield f"{name}: {last or 'ended without a word'}"
    for condition in status.get("conditions", ()):
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            yield f"no node takes a pod ({condition.get('message', '')})"
