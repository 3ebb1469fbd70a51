"""The objects of an environment: an overlay of infra/kubernetes, and what the desired state adds to it."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import yaml

from contract.errors import ConfigError
from contract.strict import decode_json, encode_json
from serving.models.desired import DESIRED, Desired, DesiredModel, DesiredVersion

SERVER = "flightline"  # the Deployment, and the label of its pods
MODELS = "flightline-models"  # in a manifest: the config map of the models, whatever it is called
HEAD = "flightline-desired"  # the config map with the newest desired state
PORT = 3000  # of a pod
RELEASES = PurePosixPath("/releases")  # in a pod
SELECTOR = f"app.kubernetes.io/name={SERVER}"
COPY = {"flightline/copy-of": HEAD}  # label of what a deployment makes and later removes

Item = dict[str, Any]

_PINNED = re.compile(r".+@sha256:(?!0{64})[0-9a-f]{64}")


def overlay(text: str, folder: Path, namespace: str) -> list[Item]:
    """The objects of a rendered overlay, in `namespace`.

    Raises:
        ConfigError: there is no deployment of ours, or an image is not pinned by its digest.
    """
    items = [item for item in yaml.safe_load_all(text) if item]
    for item in items:
        item["metadata"]["namespace"] = namespace
    pod = _pod(deployment(items, folder))
    for container in (*pod.get("initContainers", ()), *pod["containers"]):
        if _PINNED.fullmatch(container["image"]) is None:
            raise ConfigError(
                f"the image of {container['name']} in {folder.name} is {container['image']}",
                "an image pinned by its digest",
                f"Put the digest into {folder / 'kustomization.yaml'}",
            )
    return items


def deployment(items: list[Item], folder: Path) -> Item:
    """The deployment among the objects of an overlay.

    Raises:
        ConfigError: there is none of our name.
    """
    for item in items:
        if item["kind"] == "Deployment" and item["metadata"]["name"] == SERVER:
            return item
    raise ConfigError(f"{folder} has no Deployment '{SERVER}'", "one", "Build it on infra/kubernetes/base")


def models_map(desired: Desired, releases: str, namespace: str) -> Item:
    """What a pod is told: an unchangeable config map, named by what is in it.

    Equal states have equal names, so that going back to one finds its pods' template, too. A pod never sees a
    second state; the generation in it is always the first.
    """
    # Read back: a share of 100 and one of 100.0 are one share, and must give one name.
    told = decode_json(encode_json(msgspec.structs.replace(desired, generation=1)), Desired, DESIRED)
    data = {DESIRED: encode_json(told).decode(), "MODEL_URI": releases}
    name = f"{MODELS}-{hashlib.sha256(encode_json(data)).hexdigest()[:12]}"
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, "labels": COPY},
        "immutable": True,
        "data": data,
    }


def serving(item: Item, models: str, generation: int) -> Item:
    """A deployment whose pods are told by the config map `models`."""
    told: Item = _with_models(item, models)
    told["metadata"].setdefault("annotations", {})["flightline/generation"] = str(generation)
    return told


def models_of(item: Item) -> str:
    """The config map that a deployment, a replica set or a pod names; empty where it names none."""
    spec = item["spec"] if "volumes" in item["spec"] or "template" not in item["spec"] else _pod(item)
    names = [volume.get("configMap", {}).get("name", "") for volume in spec.get("volumes", ())]
    return next((name for name in names if name.startswith(f"{MODELS}-")), "")


def head(desired: Desired, namespace: str, version: str = "") -> Item:
    """The config map with a desired state; `version` is the resourceVersion of what it replaces."""
    metadata = {
        "name": HEAD,
        "namespace": namespace,
        "annotations": {"flightline/generation": str(desired.generation)},
    }
    if version:
        metadata["resourceVersion"] = version
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": {DESIRED: encode_json(desired).decode()},
    }


def read_head(item: Item, releases: Path) -> Desired:
    """The desired state in a head, with its releases as they lie on this machine.

    Raises:
        ConfigError: it holds none.
    """
    text = item.get("data", {}).get(DESIRED, "")
    where = f"{DESIRED} of config map {HEAD}"
    return relocated(decode_json(text.encode(), Desired, where), releases)


def relocated(desired: Desired, releases: Path | PurePosixPath) -> Desired:
    """The same state, with every release in the folder `releases` by its digest."""

    def model(before: DesiredModel) -> DesiredModel:
        versions: Mapping[str, DesiredVersion] = {
            name: msgspec.structs.replace(version, release=str(releases / version.digest))
            for name, version in before.versions.items()
        }
        return msgspec.structs.replace(before, versions=versions)

    models = {name: model(before) for name, before in desired.models.items()}
    return msgspec.structs.replace(desired, models=models)


def _pod(item: Item) -> Item:
    pod: Item = item["spec"]["template"]["spec"]
    return pod


def _with_models(value: Any, name: str) -> Any:
    """A copy of a manifest in which every reference to the config map of the models is to `name`."""
    if isinstance(value, list):
        return [_with_models(item, name) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: {**item, "name": name}
        if key in {"configMap", "configMapKeyRef"} and item.get("name") == MODELS
        else _with_models(item, name)
        for key, item in value.items()
    }
