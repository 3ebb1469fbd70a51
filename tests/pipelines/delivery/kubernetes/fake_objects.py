"""What the fake cluster holds: objects, and for each who has set which of its fields."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

FOLDER = Path(os.environ["FAKE_CLUSTER"])
KINDS = {
    "configmap": ("", "configmaps", "ConfigMap"),
    "deployment": ("apps", "deployments", "Deployment"),
    "replicaset": ("apps", "replicasets", "ReplicaSet"),
    "pod": ("", "pods", "Pod"),
    "pods/proxy": ("", "pods/proxy", ""),
    "service": ("", "services", "Service"),
    "serviceaccount": ("", "serviceaccounts", "ServiceAccount"),
    "horizontalpodautoscaler": ("autoscaling", "horizontalpodautoscalers", "HorizontalPodAutoscaler"),
    "poddisruptionbudget": ("policy", "poddisruptionbudgets", "PodDisruptionBudget"),
    "networkpolicy": ("networking.k8s.io", "networkpolicies", "NetworkPolicy"),
}
Item = dict[str, Any]


class Refused(Exception):  # noqa: N818 - an answer on its way out
    """What goes to standard error, with exit code 1."""


class Cluster:
    """The objects, by NAMESPACE/KIND/NAME, and who set which of their fields; `lock` keeps others away."""

    def __init__(self, lock: TextIO) -> None:
        """Wait until nobody else is at it, and read them."""
        self.path, self.lock = FOLDER / "objects.json", lock
        self.read()

    def read(self) -> None:
        """See what is there now."""
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        self.config: Item = json.loads((FOLDER / "config.json").read_text())
        found = json.loads(self.path.read_text()) if self.path.exists() else {}
        self.objects: dict[str, Item] = found.get("objects", {})
        self.owners: dict[str, dict[str, Item]] = found.get("owners", {})
        self.version: int = found.get("version", 100)

    def save(self) -> None:
        """Keep them, at once."""
        kept = {name: getattr(self, name) for name in ("objects", "owners", "version")}
        temporary = self.path.with_suffix(".part")
        temporary.write_text(json.dumps(kept, indent=1))
        temporary.replace(self.path)

    @contextmanager
    def left_alone(self) -> Iterator[None]:
        """Let others act, and go on with what they have made of it."""
        self.save()
        fcntl.flock(self.lock, fcntl.LOCK_UN)
        yield
        self.read()

    def write(self, key: str, item: Item) -> None:
        """Set an object, with the next versions."""
        before = self.objects.get(key)
        self.version += 1
        meta = item["metadata"] = {**item["metadata"], "resourceVersion": str(self.version)}
        same = before is not None and before.get("spec") == item.get("spec")
        generation = before["metadata"].get("generation", 0) if before else 0
        meta["generation"] = generation if same else generation + 1
        if before and "status" in before:
            item["status"] = before["status"]
        self.objects[key] = item

    def fault(self, name: str) -> Any:
        """What the test asks to go wrong."""
        return self.config.get("faults", {}).get(name)


def kind_of(word: str) -> str:
    """`configmaps` and `configmap` are one."""
    for kind, (_, plural, _) in KINDS.items():
        if word in {kind, plural}:
            return kind
    raise Refused(f'error: the server doesn\'t have a resource type "{word}"')


def key_of(namespace: str, kind: str, name: str) -> str:
    """Where an object is."""
    return f"{namespace}/{kind}/{name}"


def strip(item: Item) -> Item:
    """An object without what the server adds."""
    meta = {k: v for k, v in item["metadata"].items() if k not in {"resourceVersion", "generation"}}
    return {**{k: v for k, v in item.items() if k != "status"}, "metadata": meta}


def flat(value: Any, path: str = "") -> Item:
    """Leaves by path; items of a list that have names by name, other lists whole."""
    if isinstance(value, dict) and value:
        return {
            k: v
            for key, inner in value.items()
            for k, v in flat(inner, f"{path}.{key.replace('.', '~')}").items()
        }
    if isinstance(value, list) and value and all(isinstance(item, dict) and "name" in item for item in value):
        return {k: v for item in value for k, v in flat(item, f'{path}[name="{item["name"]}"]').items()}
    return {path: value}


def unflat(fields: Item) -> Item:
    """The object with these leaves."""
    root: Item = {}
    for path, value in fields.items():
        place: Any = root
        parts = path.replace('[name="', '.[name="').split(".")[1:]
        for position, part in enumerate(parts):
            last, named = position == len(parts) - 1, part.startswith("[name=")
            following = None if last else ([] if parts[position + 1].startswith("[name=") else {})
            if named:
                name = part[len('[name="') : -2]
                found = next((item for item in place if item.get("name") == name), None)
                if found is None:
                    found = {"name": name}
                    place.append(found)
                place = found
                continue
            key = part.replace("~", ".")
            if last:
                place[key] = value
            else:
                place = place.setdefault(key, following)
    return root


def write(path: Path, text: str) -> None:
    """Replace a file at once."""
    temporary = path.with_suffix(".part")
    temporary.write_text(text)
    temporary.replace(path)
