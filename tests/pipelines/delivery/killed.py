"""A deployer that is killed (SIGKILL) before one of its effects: run as a process of its own by the tests.

`python -m tests.pipelines.delivery.killed NUMBER MODEL VERSION`, or `back` in the place of the version: a
rollback. It prints each effect before it comes to it;
the last one is what it was killed before. An effect is a file put in its place or removed in the folder of
FLIGHTLINE_VAR, the ledger opened for a line, a request that changes something in MLflow, a command that
changes something on a cluster, or the file that completes a release in the storage beside that folder.
"""

import os
import signal
import sys

from pipelines.delivery import placement
from pipelines.delivery.kubernetes.storage import LAST
from pipelines.machine.settings import Settings
from pipelines.promote import promote
from pipelines.rollback import rollback
from tests.pipelines.delivery.conftest import QUICK

BACK = "back"
CLUSTER = ("create", "replace", "apply", "delete")
CHANGING = (b"POST", b"PATCH", b"DELETE", b"PUT")


def effects(number: int, var: str) -> None:
    """End this process before its effect `number`, from one; 0 is never."""
    count = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        name = _effect(event, arguments, var)
        if name is None:
            return
        count += 1
        print(f"effect {count}: {name}", flush=True)
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def _effect(event: str, arguments: tuple[object, ...], var: str) -> str | None:
    if event in {"os.rename", "os.remove"} and var in f"{arguments[0]}":
        target = arguments[1] if event == "os.rename" else arguments[0]
        return f"{event} {str(target).removeprefix(var)}"
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
        path = str(arguments[0])
        ledger = path.endswith("ledger.jsonl") and path.startswith(var)
        stored = path.endswith(LAST) and "/storage/" in path
        return (
            f"open {path.removeprefix(var).removeprefix(var.rpartition('/')[0])}"
            if ledger or stored
            else None
        )
    if event == "subprocess.Popen":
        verbs = [str(word) for word in arguments[1] if str(word) in CLUSTER]  # type: ignore[attr-defined]
        return f"kubectl {verbs[0]}" if verbs else None
    if event == "http.client.send":
        head = bytes(arguments[1][:200]) if isinstance(arguments[1], bytes | bytearray) else b""
        if head.startswith(CHANGING) and b"/search" not in head:
            return head.split(b"\r\n")[0].decode()
    return None


def main() -> None:
    """Promote a version, or go back, as far as that goes."""
    number, model, version = sys.argv[1:]
    placement.read_rollout = lambda *_: QUICK  # type: ignore[assignment]  # toy models have no policy
    settings = Settings.from_environment()
    effects(int(number), str(settings.var))
    if version == BACK:
        rollback(model, settings, actor="ada")
    else:
        promote(model, settings, version, actor="ada")
    print("done", flush=True)


if __name__ == "__main__":
    main()
