"""A `kubectl` with a cluster behind it that is a folder: what it is asked is checked, kept, and acted on.

It knows the verbs and flags that a deployment needs and refuses all others; admits only objects that are valid
and only what the Role of infra/kubernetes/access allows; keeps for each object who set which field; and runs
the init containers of a pod for real. `kustomize` is left to the real kubectl.
"""

import fcntl
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

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
FLAGS = {
    "get": {"--ignore-not-found", "--output", "--selector", "--raw"},
    "create": {"--field-manager", "--filename"},
    "replace": {"--field-manager", "--filename"},
    "apply": {"--server-side", "--field-manager", "--filename"},
    "rollout": {"--timeout"},
    "delete": {"--ignore-not-found", "--wait", "--timeout"},
}
EVERYWHERE = {"--context", "--namespace", "--request-timeout"}
Item = dict[str, Any]


class Refused(Exception):  # noqa: N818 - an answer on its way out
    """What goes to standard error, with exit code 1."""


class Cluster:
    """The objects, by NAMESPACE/KIND/NAME, and who set which of their fields."""

    def __init__(self) -> None:
        """Read them."""
        self.path = FOLDER / "objects.json"
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


def main(words: list[str]) -> int:
    """Answer one command line as kubectl does."""
    if words[:1] == ["kustomize"]:
        return kustomize(words[1])
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with (FOLDER / "calls.jsonl").open("a") as log:
            log.write(json.dumps(words) + "\n")
        cluster = Cluster()
        try:
            print(answer(cluster, *parsed(words)), end="")
        except Refused as refusal:
            print(refusal, file=sys.stderr)
            return 1
        finally:
            cluster.save()
    return 0


def kustomize(folder: str) -> int:
    """The real one's work, on the manifests that a person has put digests and keys into."""
    config = json.loads((FOLDER / "config.json").read_text())
    filled = folder.replace(config["repository"], config["manifests"])
    return subprocess.run([config["kubectl"], "kustomize", filled], timeout=60, check=False).returncode


def parsed(words: list[str]) -> tuple[list[str], dict[str, str]]:
    """Verb and names, and the flags."""
    plain = [word for word in words if not word.startswith("-")]
    flags = dict(word.partition("=")[::2] for word in words if word.startswith("-"))
    if not plain or plain[0] not in FLAGS:
        raise Refused(f'error: unknown command "{" ".join(plain[:1])}" for "kubectl"')
    unknown = set(flags) - FLAGS[plain[0]] - EVERYWHERE
    if unknown:
        raise Refused(f"error: unknown flag: {min(unknown)}")
    return plain, flags


def answer(cluster: Cluster, words: list[str], flags: dict[str, str]) -> str:
    """What a command prints."""
    if flags.get("--context") not in cluster.config["contexts"]:
        raise Refused(f'error: context "{flags.get("--context")}" does not exist')
    if cluster.fault("hang"):
        time.sleep(float(cluster.fault("hang")))
    if cluster.fault("unreachable"):
        raise Refused(
            "The connection to the server 10.0.0.1:6443 was refused - did you specify the right host or port?"
        )
    namespace = flags["--namespace"]
    if f"{namespace}" not in cluster.config["namespaces"]:
        raise Refused(f'Error from server (NotFound): namespaces "{namespace}" not found')
    verb = words[0]
    if verb == "rollout":
        return rollout(cluster, namespace, words[1:], flags)
    if verb == "get":
        return get(cluster, namespace, words[1:], flags)
    if verb == "delete":
        return delete(cluster, namespace, words[1:], flags)
    if flags.get("--filename") != "-" or not flags.get("--field-manager"):
        raise Refused("error: must specify --filename=- and --field-manager")
    given = json.loads(sys.stdin.read())
    items = given["items"] if given["kind"] == "List" else [given]
    for item in items:
        admit(namespace, item)
    return "".join(
        {"create": create, "replace": replace, "apply": apply}[verb](cluster, namespace, item, flags)
        for item in items
    )


def admit(namespace: str, item: Item) -> None:
    """Refuse what is not valid, or meant for elsewhere."""
    sys.path.append(os.environ["FAKE_LIBRARIES"])  # only now: most commands are done without
    import kubernetes_validate

    try:
        kubernetes_validate.validate(item, kubernetes_validate.latest_version(), strict=True)
    except kubernetes_validate.ValidationError as error:
        raise Refused(f'error: error validating "STDIN": error validating data: {error.message}') from None
    if item["metadata"].get("namespace") != namespace:
        raise Refused(
            f'error: the namespace from the provided object "{item["metadata"].get("namespace")}" does not match '
            f"the namespace \"{namespace}\". You must pass '--namespace=…' to perform this operation."
        )


def allow(cluster: Cluster, verb: str, kind: str, namespace: str, name: str = "") -> None:
    """Refuse what the Role does not allow."""
    group, resource, _ = KINDS[kind]
    for rule in cluster.config["rules"]:
        if group in rule["apiGroups"] and resource in rule["resources"] and verb in rule["verbs"]:
            with (FOLDER / "used.jsonl").open("a") as log:
                log.write(json.dumps([resource, verb]) + "\n")
            return
    raise Refused(
        f'Error from server (Forbidden): {resource} "{name}" is forbidden: User "deployer" cannot {verb} resource '
        f'"{resource}" in API group "{group}" in the namespace "{namespace}"'
    )


def kind_of(word: str) -> str:
    """`configmaps` and `configmap` are one."""
    for kind, (_, plural, _) in KINDS.items():
        if word in {kind, plural}:
            return kind
    raise Refused(f'error: the server doesn\'t have a resource type "{word}"')


def key_of(namespace: str, kind: str, name: str) -> str:
    """Where an object is."""
    return f"{namespace}/{kind}/{name}"


def get(cluster: Cluster, namespace: str, words: list[str], flags: dict[str, str]) -> str:
    """One object, or those with labels."""
    if "--raw" in flags:
        return ask_pod(cluster, namespace, flags["--raw"])
    kind = kind_of(words[0])
    allow(cluster, "get" if len(words) > 1 else "list", kind, namespace, "".join(words[1:]))
    if flags.get("--output") != "json":
        raise Refused("error: only --output=json is read by a program")
    if len(words) > 1:
        item = cluster.objects.get(key_of(namespace, kind, words[1]))
        if item is None and "--ignore-not-found" not in flags:
            raise Refused(f'Error from server (NotFound): {KINDS[kind][1]} "{words[1]}" not found')
        return json.dumps(item) if item else ""
    wanted = dict(pair.split("=") for pair in flags["--selector"].split(","))
    items = [
        item
        for key, item in cluster.objects.items()
        if key.startswith(f"{namespace}/{kind}/")
        and wanted.items() <= item["metadata"].get("labels", {}).items()
    ]
    return json.dumps({"kind": "List", "items": items})


def ask_pod(cluster: Cluster, namespace: str, url: str) -> str:
    """What a pod answers through the API server: the service behind it, or a count of the test's."""
    from urllib.request import urlopen

    prefix = f"/api/v1/namespaces/{namespace}/pods/"
    name, _, path = url.removeprefix(prefix).partition(":3000/proxy/")
    allow(cluster, "get", "pods/proxy", namespace, name)
    if not url.startswith(prefix) or key_of(namespace, "pod", name) not in cluster.objects:
        raise Refused(f"Error from server (NotFound): the server could not find {url}")
    behind = cluster.config["services"].get(namespace)
    if behind is None:
        return str(cluster.config.get("metrics", ""))
    with urlopen(f"{behind['url']}/{path}", timeout=5) as answer:
        return str(answer.read().decode())


def create(cluster: Cluster, namespace: str, item: Item, flags: dict[str, str]) -> str:
    """Make what is not there."""
    kind, name = item["kind"].lower(), item["metadata"]["name"]
    allow(cluster, "create", kind, namespace, name)
    key = key_of(namespace, kind, name)
    if key in cluster.objects:
        raise Refused(
            f'Error from server (AlreadyExists): error when creating "STDIN": {KINDS[kind][1]} "{name}" already exists'
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
            f'{KINDS[kind][1]} "{name}": the object has been modified; please apply your changes to the latest version '
            "and try again"
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
                f'error: Apply failed with {len(clash)} conflict{"s" * (len(clash) > 1)}: conflict with "{who}" using '
                f"{item['apiVersion']}: {clash[0]}\nPlease review the fields above--they currently have other managers."
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


def rollout(cluster: Cluster, namespace: str, words: list[str], flags: dict[str, str]) -> str:
    """Bring the newest pods up, and say how that went."""
    if words[0] != "status" or not flags.get("--timeout", "").endswith("s"):
        raise Refused("error: expected rollout status with --timeout=Ns")
    kind, _, name = words[1].partition("/")
    for verb in ("get", "list", "watch"):
        allow(cluster, verb, kind_of(kind), namespace, name)
    item = cluster.objects.get(key_of(namespace, "deployment", name))
    if item is None:
        raise Refused(f'Error from server (NotFound): deployments.apps "{name}" not found')
    if cluster.fault("late"):
        raise Refused("error: timed out waiting for the condition")
    trouble = bring_up(cluster, namespace, item)
    if trouble:
        raise Refused(f'error: deployment "{name}" exceeded its progress deadline')
    return f'deployment "{name}" successfully rolled out\n'


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
    """The status of a pod: its init containers run for real, its server is the one that the test has started."""
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
        if mount["mountPath"] != "/tmp"
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
    from urllib.request import urlopen

    ends = time.monotonic() + 20
    while time.monotonic() < ends:
        with urlopen(f"{behind['url']}/status", timeout=5) as answer:
            found = json.load(answer)
        if found["generation"] >= generation:
            if not found["refused"]:
                return True
            write(path, json.dumps({**json.loads(before), "generation": generation + 1}))
            return False
        time.sleep(0.05)
    return False


def write(path: Path, text: str) -> None:
    """Replace a file at once."""
    temporary = path.with_suffix(".part")
    temporary.write_text(text)
    temporary.replace(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
