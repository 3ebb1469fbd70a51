"""What becomes of a deployment on the fake cluster: pods whose init containers run for real."""

import hashlib
import json
import os
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from fake_objects import FOLDER, Cluster, Item, Refused, key_of, write

ACKNOWLEDGED_S = 20.0  # in which a service that lives takes up what it is told


def bring_up(cluster: Cluster, namespace: str, item: Item) -> bool:
    """Start pods of the newest template; whether that failed. Older pods stay until it has not."""
    template = item["spec"]["template"]
    digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:10]
    labels = template["metadata"]["labels"]
    meta = {"namespace": namespace, "labels": labels}
    key = key_of(namespace, "replicaset", f"{item['metadata']['name']}-{digest}")
    cluster.version += 1
    named = {**meta, "name": key.rpartition("/")[2], "revision": cluster.version}
    cluster.objects[key] = {"kind": "ReplicaSet", "metadata": named, "spec": {"template": template}}
    status = run_pod(cluster, namespace, template["spec"])
    pod = {
        "kind": "Pod",
        "metadata": {**meta, "name": f"{digest}-1"},
        "spec": template["spec"],
        "status": status,
    }
    failed = not status.pop("ready")
    if not failed:
        for name in [name for name in cluster.objects if name.startswith(f"{namespace}/pod/")]:
            del cluster.objects[name]
    cluster.objects[key_of(namespace, "pod", f"{digest}-1")] = pod
    replicas = cluster.objects[key_of(namespace, "horizontalpodautoscaler", "flightline")]["spec"][
        "minReplicas"
    ]
    item["status"] = {
        "observedGeneration": item["metadata"]["generation"],
        "replicas": replicas + failed,
        "updatedReplicas": 1 if failed else replicas,
        "availableReplicas": replicas,
    }
    kept = item["spec"]["revisionHistoryLimit"] + 1
    sets = sorted(
        (name for name in cluster.objects if name.startswith(f"{namespace}/replicaset/")),
        key=lambda name: int(cluster.objects[name]["metadata"]["revision"]),
    )
    for name in sets[:-kept]:
        del cluster.objects[name]
    return failed


def run_pod(cluster: Cluster, namespace: str, spec: Item) -> Item:
    """The status of a pod: its init containers run for real, its server is one that the test has started."""
    if cluster.fault("unpullable"):
        waiting = {"reason": "ErrImagePull", "message": "manifest unknown"}
        return {
            "ready": False,
            "initContainerStatuses": [
                {"name": spec["initContainers"][0]["name"], "state": {"waiting": waiting}}
            ],
        }
    if cluster.fault("full"):
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "message": "0/3 nodes are available: Insufficient cpu.",
        }
        return {"ready": False, "conditions": [condition]}
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        volumes = {
            volume["name"]: mounted(cluster, namespace, volume, Path(folder)) for volume in spec["volumes"]
        }
        for container in spec["initContainers"]:
            done = run(cluster, namespace, container, volumes)
            if done.returncode != 0:
                ended = {"exitCode": done.returncode, "reason": "Error", "message": done.stderr[-2000:]}
                return {
                    "ready": False,
                    "initContainerStatuses": [{"name": container["name"], "state": {"terminated": ended}}],
                }
        server = spec["containers"][0]
        state = next(item["value"] for item in server["env"] if item["name"] == "FLIGHTLINE_STATE")
        mount = next(item for item in server["volumeMounts"] if item["mountPath"] == f"{state}/desired.json")
        told = json.loads((volumes[mount["name"]] / mount["subPath"]).read_text())
        releases = volumes[
            next(item["name"] for item in server["volumeMounts"] if item["mountPath"] == "/releases")
        ]
        kept = FOLDER / "pods" / namespace
        kept.mkdir(parents=True, exist_ok=True)
        for release in releases.iterdir():  # the volume, which outlives this command
            if not (kept / release.name).exists():
                release.rename(kept / release.name)
        for model in told["models"].values():
            for version in model["versions"].values():
                version["release"] = str(kept / Path(version["release"]).name)
        up = serve(cluster, namespace, told)
        return {"ready": up, "conditions": [{"type": "Ready", "status": str(up)}]}


def mounted(cluster: Cluster, namespace: str, volume: Item, folder: Path) -> Path:
    """A volume as a folder."""
    path = folder / volume["name"]
    path.mkdir()
    if "configMap" in volume:
        item = cluster.objects.get(key_of(namespace, "configmap", volume["configMap"]["name"]))
        if item is None:
            raise Refused(
                "error: timed out waiting for the condition"
            )  # as it would be: the pod never starts
        for name, text in item["data"].items():
            (path / name).write_text(text)
    return path


def run(
    cluster: Cluster, namespace: str, container: Item, volumes: dict[str, Path]
) -> subprocess.CompletedProcess[str]:
    """A container's command on this machine: its mounts are the folders of the volumes."""
    mounts = {
        mount["mountPath"]: str(volumes[mount["name"]])
        for mount in container["volumeMounts"]
        if mount["name"] != "scratch"
    }

    def here(text: str) -> str:
        for path, folder in mounts.items():
            if text == path or text.startswith(f"{path}/"):
                return folder + text[len(path) :]
        return text

    for name in {Path(path) for path in mounts.values()}:
        for path in name.glob("desired.json"):
            told = json.loads(path.read_text())
            for model in told["models"].values():
                for version in model["versions"].values():
                    version["release"] = here(version["release"])
            path.write_text(json.dumps(told))
    values = {}
    for item in container["env"]:
        reference = item.get("valueFrom", {}).get("configMapKeyRef")
        if reference:
            source = cluster.objects[key_of(namespace, "configmap", reference["name"])]
            values[item["name"]] = source["data"][reference["key"]]
        else:
            values[item["name"]] = here(item["value"])
    if not cluster.config["loading"]:  # it takes a second or two, and most tests are not about it
        return subprocess.CompletedProcess(
            [], 0 if Path(values["MODEL_URI"]).is_dir() else 1, "", "nothing there"
        )
    program, *arguments = container["command"]
    command = [cluster.config[program], *map(here, arguments)]
    return subprocess.run(
        command,
        env={**os.environ, **values},
        cwd=cluster.config["repository_root"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def serve(cluster: Cluster, namespace: str, told: Item) -> bool:
    """Have the service behind the namespace's URL be of these pods; whether it became ready."""
    with (FOLDER / f"served-{namespace}.jsonl").open("a") as log:
        log.write(json.dumps(told) + "\n")
    behind = cluster.config.get("services", {}).get(namespace)
    if behind is None:
        return True
    path = Path(behind["state"]) / "desired.json"
    before = path.read_text() if path.exists() else ""
    generation = json.loads(before)["generation"] + 1 if before else 1
    for model in told["models"].values():
        model["older_contract"] = True  # a fresh pod knows no older one
    write(path, json.dumps({**told, "generation": generation}))
    found = acknowledged(behind["url"], generation)
    if found and found["refused"]:
        write(path, json.dumps({**json.loads(before), "generation": generation + 1}))
    return bool(found) and not found["refused"]


def acknowledged(url: str, generation: int) -> Item:
    """What a service says once it has taken up a generation; nothing where it does not in time."""
    from urllib.request import urlopen

    ends = time.monotonic() + ACKNOWLEDGED_S
    while time.monotonic() < ends:
        with urlopen(f"{url}/status", timeout=5) as answer:  # noqa: S310 - http, of the test's own
            found: Item = json.load(answer)
        if found["generation"] >= generation:
            return found
        threading.Event().wait(0.05)
    return {}
