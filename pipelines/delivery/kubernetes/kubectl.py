"""kubectl, called with lists of words, each call with a time limit; its refusals as sentences."""

import json
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from contract.errors import ConfigError, FlightlineError

MANAGER = "flightline"  # of the fields that a deployment sets
CALL_S = 30.0  # for one call; the API server is given less, so that its own sentence arrives
REQUEST_S = 20

_OWNER = re.compile(r'conflicts? with "(?P<who>[^"]+)"[^:]*:\s*(?P<field>\.[^\n]+)?')


class ConflictError(FlightlineError):
    """What was read has been changed by somebody else before it was written."""


class OwnedError(FlightlineError):
    """Another field manager has set a field to another value."""


@dataclass(frozen=True)
class Kubectl:
    """One namespace of one cluster."""

    context: str
    namespace: str

    def kustomize(self, folder: str) -> str:
        """The YAML of a folder; asks no cluster."""
        return _run(["kubectl", "kustomize", folder], "", CALL_S, folder)

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """One object, or None."""
        text = self._ask("get", kind, name, "--ignore-not-found", "--output=json")
        return dict(json.loads(text)) if text.strip() else None

    def select(self, kind: str, selector: str) -> list[dict[str, Any]]:
        """The objects with the labels of `selector`."""
        found = json.loads(self._ask("get", kind, f"--selector={selector}", "--output=json"))
        return list(found["items"])

    def ask_pod(self, name: str, port: int, path: str) -> str:
        """What a pod answers to GET `path`, whether or not this machine can reach it: the API server asks."""
        url = f"/api/v1/namespaces/{self.namespace}/pods/{name}:{port}/proxy/{path}"
        return self._ask("get", f"--raw={url}")

    def create(self, item: dict[str, Any]) -> None:
        """Make an object that must not be there yet.

        Raises:
            ConflictError: it is there.
        """
        self._ask("create", f"--field-manager={MANAGER}", "--filename=-", stdin=_documents([item]))

    def replace(self, item: dict[str, Any]) -> None:
        """Exchange an object, which must still be the one that was read: its resourceVersion says so.

        Raises:
            ConflictError: it has changed meanwhile.
        """
        self._ask("replace", f"--field-manager={MANAGER}", "--filename=-", stdin=_documents([item]))

    def apply(self, items: Sequence[dict[str, Any]]) -> None:
        """Have these fields of these objects, and none that an earlier call had beside them.

        Raises:
            OwnedError: somebody else has set one of the fields to another value.
        """
        words = ("apply", "--server-side", f"--field-manager={MANAGER}", "--filename=-")
        self._ask(*words, stdin=_documents(items))

    def rollout(self, deployment: str, seconds: float) -> None:
        """Wait until every pod of a deployment is of its newest kind and available.

        Raises:
            FlightlineError: not within `seconds`, or not within the deployment's own deadline.
        """
        words = ("rollout", "status", f"deployment/{deployment}", f"--timeout={seconds:.0f}s")
        self._call([*self._where(), *words], "", seconds + CALL_S)

    def delete(self, kind: str, *names: str) -> None:
        """Remove objects, and wait until they are gone; those that are not there are no fault."""
        words = ("delete", kind, *names, "--ignore-not-found", "--wait", f"--timeout={CALL_S * 2:.0f}s")
        self._call([*self._where(), *words], "", CALL_S * 3)

    def _where(self) -> list[str]:
        return ["kubectl", f"--context={self.context}", f"--namespace={self.namespace}"]

    def _ask(self, *words: str, stdin: str = "") -> str:
        return self._call([*self._where(), f"--request-timeout={REQUEST_S}s", *words], stdin, CALL_S)

    def _call(self, command: list[str], stdin: str, seconds: float) -> str:
        return _run(command, stdin, seconds, f"namespace {self.namespace} of {self.context}")


def _documents(items: Sequence[dict[str, Any]]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(items)})


def _run(command: list[str], stdin: str, seconds: float, where: str) -> str:
    try:
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=seconds, check=False
        )
    except FileNotFoundError:
        raise ConfigError(
            "kubectl is not installed", "kubectl 1.27 or newer", "Install it, or use the backend local"
        ) from None
    except subprocess.TimeoutExpired:
        verb = next((word for word in command[1:] if not word.startswith("-")), "")
        raise FlightlineError(
            f"{where}: kubectl {verb} did not end within {seconds:.0f} s",
            "an answer",
            "Look whether the cluster answers, then run the command again",
        ) from None
    if done.returncode != 0:
        raise refusal(done.stderr, where)
    return done.stdout


def refusal(stderr: str, where: str) -> FlightlineError:
    """What kubectl said, as what a person can act on."""
    text = " ".join(line.strip() for line in stderr.splitlines() if line.strip()).removeprefix("error: ")
    if "Apply failed with" in text:
        return _owned(stderr, where)
    if "the object has been modified" in text or "(AlreadyExists)" in text:
        return ConflictError(
            f"{where} was changed by somebody else at the same moment",
            "one change at a time",
            "Run the command again: it decides on what is live by then",
        )
    if "(Forbidden)" in text:
        return FlightlineError(
            f"{where}: {text[:300]}", "the rights of infra/kubernetes/access", "Have them given to this user"
        )
    if "refused" in text or "Unable to connect" in text or "i/o timeout" in text:
        return FlightlineError(
            f"{where} cannot be reached ({text[:300]})",
            "an API server that answers",
            "Look at the context of the kubeconfig and at the network, then run the command again",
        )
    if "context" in text and "does not exist" in text:
        return ConfigError(
            f"{where}: {text[:300]}", "a context of the kubeconfig", "See `kubectl config get-contexts`"
        )
    return FlightlineError(
        f"{where}: {text[:400] or 'kubectl failed and did not say why'}",
        "that kubectl does as it is told",
        "Correct what it says, then run the command again",
    )


def _owned(stderr: str, where: str) -> OwnedError:
    """Who has set what, by server-side apply's own words."""
    match = _OWNER.search(stderr)
    who = match["who"] if match else "somebody"
    fields = re.findall(r"(?:^- |: )(\.[^\n]+)$", stderr, re.MULTILINE)
    return OwnedError(
        f"{', '.join(fields) or 'a field'} in {where} was set by '{who}'",
        "fields that infra/kubernetes alone decides",
        f"Put the change into the overlay and take it out of the cluster, or leave the field to '{who}'",
    )
