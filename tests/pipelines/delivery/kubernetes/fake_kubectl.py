"""A `kubectl` with a cluster behind it that is a folder: what it is asked is checked, kept, and acted on.

It knows the verbs and flags that a deployment needs and refuses all others; admits only objects that are
valid and only what the Role of infra/kubernetes/access allows; keeps for each object who set which field; and
runs the init containers of a pod for real. `kustomize` is left to the real kubectl.
"""

import json
import signal
import subprocess
import sys

from fake_admission import admit, allow
from fake_objects import FOLDER, KINDS, Cluster, Refused, key_of, kind_of
from fake_pods import bring_up
from fake_writes import apply, create, delete, pause, replace

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
        cluster = Cluster(lock)
        with (FOLDER / "calls.jsonl").open("a") as log:
            log.write(json.dumps(words) + "\n")
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
    said = []
    for item in items:
        if verb == "apply":
            pause(cluster, before=item)
        act = {"create": create, "replace": replace, "apply": apply}[verb]
        said.append(act(cluster, namespace, item, flags))
    return "".join(said)


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
