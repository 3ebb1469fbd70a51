"""What changes the objects of the fake cluster: create, replace, server-side apply, delete."""

import json
import os

from fake_admission import allow
from fake_objects import FOLDER, KINDS, Cluster, Item, Refused, flat, key_of, kind_of, strip, unflat, write
from fake_pods import serve


def create(cluster: Cluster, namespace: str, item: Item, flags: dict[str, str]) -> str:
    """Make what is not there."""
    kind, name = item["kind"].lower(), item["metadata"]["name"]
    allow(cluster, "create", kind, namespace, name)
    key = key_of(namespace, kind, name)
    if key in cluster.objects:
        raise Refused(
            f'Error from server (AlreadyExists): error when creating "STDIN": {KINDS[kind][1]} "{name}" '
            "already exists"
        )
    cluster.write(key, item)
    cluster.owners[key] = {flags["--field-manager"]: flat(item)}
    return f"{kind}/{name} created\n"


def replace(cluster: Cluster, namespace: str, item: Item, flags: dict[str, str]) -> str:
    """Exchange what was read and is still so."""
    kind, name = item["kind"].lower(), item["metadata"]["name"]
    for verb in ("get", "update"):
        allow(cluster, verb, kind, namespace, name)
    key = key_of(namespace, kind, name)
    interfere(cluster, key)
    if key not in cluster.objects:
        raise Refused(
            f'Error from server (NotFound): error when replacing "STDIN": {KINDS[kind][1]} "{name}" not found'
        )
    version = item["metadata"].get("resourceVersion")
    if version and version != cluster.objects[key]["metadata"]["resourceVersion"]:
        raise Refused(
            f'Error from server (Conflict): error when replacing "STDIN": Operation cannot be fulfilled on '
            f'{KINDS[kind][1]} "{name}": the object has been modified; please apply your changes to the '
            "latest version and try again"
        )
    cluster.write(key, item)
    cluster.owners[key] = {flags["--field-manager"]: flat(item)}
    return f"{kind}/{name} replaced\n"


def interfere(cluster: Cluster, key: str) -> None:
    """Be somebody else who writes first, as often as the test asks for."""
    left = cluster.fault("interfere") or []
    if left and key in cluster.objects:
        item = cluster.objects[key]
        cluster.write(key, {**item, "data": {**item["data"], **left.pop(0)}})
        (FOLDER / "config.json").write_text(json.dumps(cluster.config))


def pause(cluster: Cluster, before: Item) -> None:
    """Stop half way, before the Deployment, in the call that the test names, until it is told to go on."""
    waits = cluster.fault("hold") or []
    if not waits or before["kind"] != "Deployment":
        return
    held = waits.pop(0)
    write(FOLDER / "config.json", json.dumps(cluster.config))
    if held:
        with cluster.left_alone():
            write(FOLDER / "held", str(os.getpid()))
            (FOLDER / "gate").read_text()  # a pipe: whoever opens it for writing lets this go on


def apply(cluster: Cluster, namespace: str, item: Item, flags: dict[str, str]) -> str:
    """Server-side: the fields of one manager, if no other has set one of them to another value."""
    kind, name = item["kind"].lower(), item["metadata"]["name"]
    if "--server-side" not in flags:
        raise Refused("error: a client-side apply knows no field managers")
    for verb in ("get", "patch"):
        allow(cluster, verb, kind, namespace, name)
    key, manager = key_of(namespace, kind, name), flags["--field-manager"]
    if key not in cluster.objects:
        allow(cluster, "create", kind, namespace, name)
    elif cluster.objects[key].get("immutable") and cluster.objects[key].get("data") != item.get("data"):
        raise Refused(
            f'The ConfigMap "{name}" is invalid: data: Forbidden: field is immutable when `immutable` is set'
        )
    owners = cluster.owners.setdefault(key, {})
    mine = flat(item)
    for who, theirs in owners.items():
        clash = [path for path, value in theirs.items() if who != manager and mine.get(path, value) != value]
        if clash:
            raise Refused(
                f"error: Apply failed with {len(clash)} conflict{'s' * (len(clash) > 1)}: conflict with "
                f'"{who}" using {item["apiVersion"]}: {clash[0]}\n'
                "Please review the fields above--they currently have other managers."
            )
    owners[manager] = mine
    merged: Item = {}
    for fields in owners.values():
        merged.update(fields)
    before = cluster.objects.get(key)
    after = unflat(merged)
    if before is None or flat(strip(before)) != flat(strip(after)):
        cluster.write(key, after)
    return f"{kind}/{name} serverside-applied\n"


def delete(cluster: Cluster, namespace: str, words: list[str], flags: dict[str, str]) -> str:
    """Remove objects; the pods and replica sets of a deployment go with it."""
    kind, said = kind_of(words[0]), []
    for name in words[1:]:
        allow(cluster, "delete", kind, namespace, name)
        if cluster.objects.pop(key_of(namespace, kind, name), None) is not None:
            said.append(f'{kind} "{name}" deleted\n')
        elif "--ignore-not-found" not in flags:
            raise Refused(f'Error from server (NotFound): {KINDS[kind][1]} "{name}" not found')
        cluster.owners.pop(key_of(namespace, kind, name), None)
    if kind == "deployment" and said:
        for key in [
            key
            for key in cluster.objects
            if key.startswith((f"{namespace}/pod/", f"{namespace}/replicaset/"))
        ]:
            del cluster.objects[key]
        serve(cluster, namespace, {"generation": 1, "default": "", "models": {}})
    return "".join(said)
