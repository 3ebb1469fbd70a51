"""A `kubectl` with a cluster behind it that is a folder: what it is asked is checked, kept, and acted on.

It knows the verbs and flags that a deployment needs and refuses all others; admits only objects that are
valid and only what the Role of infra/kubernetes/access allows; keeps for each object who set which field; and
runs the init containers of a pod for real. `kustomize` is left to the real kubectl.
"""

import fcntl
import json
import os
import signal
import subprocess
import sys

from fake_objects import FOLDER, KINDS, Cluster, Item, Refused, flat, key_of, kind_of, strip, unflat
from fake_pods import bring_up, serve

FLAGS = {
    "get": {"--ignore-not-found", "--output", "--selector", "--raw"},
    "create": {"--field-manager", "--filename"},
    "replace": {"--field-manager", "--filename"},
    "apply": {"--server-side", "--field-manager", "--filename"},
    "rollout": {"--timeout"},
    "delete": {"--ignore-not-found", "--wait", "--timeout"},
}
EVERYWHERE = {"--context", "--namespace", "--request-timeout"}


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
        signal.pause()  # until the caller has had enough
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
            f'error: the namespace from the provided object "{item["metadata"].get("namespace")}" does not '
            f"match the namespace \"{namespace}\". You must pass '--namespace=…' to perform this operation."
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
        f'Error from server (Forbidden): {resource} "{name}" is forbidden: User "deployer" cannot {verb} '
        f'resource "{resource}" in API group "{group}" in the namespace "{namespace}"'
    )


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
    with urlopen(f"{behind['url']}/{path}", timeout=5) as answer:  # noqa: S310 - http, of the test's own
        return str(answer.read().decode())


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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
