"""Who may do what on the fake cluster, and which objects it takes."""

import json
import os
import sys

from fake_objects import FOLDER, KINDS, Cluster, Item, Refused


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
