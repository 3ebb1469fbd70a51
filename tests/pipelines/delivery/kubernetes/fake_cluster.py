"""The cluster behind the fake kubectl, as a test sees it."""

import json
import os
import shutil
import stat
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from pipelines.machine.settings import ROOT

HERE = Path(__file__).parent
CONTEXT = "test-cluster"
IMAGE = "a" * 64  # whose digest is no matter: nothing is pulled


@dataclass(frozen=True)
class FakeCluster:
    """Its folder: objects, calls, faults."""

    folder: Path

    @classmethod
    def make(cls, folder: Path, kubectl: str, trust: Path) -> "FakeCluster":
        """An empty cluster, with the manifests as a person has completed them, and a `kubectl` in `bin`."""
        manifests = folder / "manifests"
        shutil.copytree(ROOT / "infra/kubernetes", manifests)
        (folder / "bin").mkdir()
        program = folder / "bin" / "kubectl"
        program.write_text(
            f"#!{sys.executable} -S\nimport runpy, sys\nsys.path.insert(0, {str(HERE)!r})\n"
            f"runpy.run_path({str(HERE / 'fake_kubectl.py')!r}, run_name='__main__')\n"
        )
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        rendered = subprocess.run(
            [kubectl, "kustomize", str(manifests / "access/production")],
            capture_output=True,
            timeout=60,
            check=True,
        )
        role = next(item for item in yaml.safe_load_all(rendered.stdout) if item["kind"] == "Role")
        cluster = cls(folder)
        cluster.configure(
            contexts=[CONTEXT],
            namespaces=["flightline-staging", "flightline-production"],
            kubectl=kubectl,
            repository=str(ROOT / "infra/kubernetes"),
            repository_root=str(ROOT),
            manifests=str(manifests),
            rules=role["rules"],
            python=sys.executable,
            services={},
            loading=False,
        )
        for name in ("staging", "production"):
            cluster.edit(name, "0" * 64, IMAGE)
            shutil.copy(trust, manifests / "overlays" / name / "trust.json")
        return cluster

    @property
    def variables(self) -> dict[str, str]:
        """What lets a process find this kubectl first."""
        return {
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "FAKE_CLUSTER": str(self.folder),
            "FAKE_LIBRARIES": sysconfig.get_path("purelib"),
        }

    def configure(self, **more: Any) -> None:
        """Change what the cluster is like."""
        path = self.folder / "config.json"
        before = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**before, **more}))

    def config(self) -> dict[str, Any]:
        """What the cluster is like."""
        found: dict[str, Any] = json.loads((self.folder / "config.json").read_text())
        return found

    def faults(self, **faults: Any) -> None:
        """Have these things go wrong, and no others."""
        self.configure(faults=faults)

    def hold(self, call: int) -> None:
        """Have the `call`-th apply from now on stop half way, before the Deployment."""
        (self.folder / "gate").unlink(missing_ok=True)
        (self.folder / "held").unlink(missing_ok=True)
        os.mkfifo(self.folder / "gate")
        self.faults(hold=[*[False] * (call - 1), True])

    def held(self) -> int:
        """The process of the call that stopped half way; 0 as long as there is none."""
        path = self.folder / "held"
        return int(path.read_text()) if path.exists() else 0

    def let_go(self) -> None:
        """Have that call carry out the rest."""
        (self.folder / "gate").write_text("")

    def end(self) -> None:
        """Leave no call behind that waits for ever."""
        with suppress(OSError):  # nobody waits
            os.close(os.open(self.folder / "gate", os.O_WRONLY | os.O_NONBLOCK))

    def edit(self, overlay: str, before: str, after: str) -> None:
        """Change the manifests of an overlay."""
        for path in (self.folder / "manifests/overlays" / overlay / "kustomization.yaml",):
            text = path.read_text()
            assert before in text
            path.write_text(text.replace(before, after))

    def objects(self) -> dict[str, dict[str, Any]]:
        """Everything there is, by NAMESPACE/KIND/NAME."""
        path = self.folder / "objects.json"
        found: dict[str, dict[str, Any]] = json.loads(path.read_text())["objects"] if path.exists() else {}
        return found

    def one(self, name: str) -> dict[str, Any]:
        """An object of production, as KIND/NAME."""
        return self.objects()[f"flightline-production/{name}"]

    def set(self, name: str, path: str, value: Any, manager: str) -> None:
        """Be another field manager of an object of production."""
        file = self.folder / "objects.json"
        found = json.loads(file.read_text())
        found["owners"][f"flightline-production/{name}"][manager] = {path: value}
        file.write_text(json.dumps(found))

    def add_pod(self, name: str, *, ready: bool) -> None:
        """Have one more pod beside the one in production."""
        file = self.folder / "objects.json"
        found = json.loads(file.read_text())
        pod = next(
            item for key, item in found["objects"].items() if key.startswith("flightline-production/pod/")
        )
        status = {"conditions": [{"type": "Ready", "status": str(ready)}]}
        meta = {**pod["metadata"], "name": name}
        found["objects"][f"flightline-production/pod/{name}"] = {**pod, "metadata": meta, "status": status}
        file.write_text(json.dumps(found))

    def lines(self) -> list[list[str]]:
        """Every command line so far that went to the cluster."""
        path = self.folder / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def calls(self) -> list[list[str]]:
        """The same without the flags that all have."""
        skip = ("--context", "--namespace", "--request-timeout")
        return [[word for word in words if not word.startswith(skip)] for words in self.lines()]

    def used(self) -> list[list[str]]:
        """Resource and verb of every right that was made use of."""
        return [json.loads(line) for line in (self.folder / "used.jsonl").read_text().splitlines()]

    def served(self, namespace: str = "flightline-production") -> list[dict[str, str]]:
        """What the pods behind the Service served, one after another: model to version."""
        path = self.folder / f"served-{namespace}.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [
            {name: model["default"] for name, model in json.loads(line)["models"].items()} for line in lines
        ]

    def digests(self, namespace: str) -> dict[str, str]:
        """What the pods serve now: model to digest."""
        path = self.folder / f"served-{namespace}.jsonl"
        if not path.exists():
            return {}
        told = json.loads(path.read_text().splitlines()[-1])
        return {name: model["versions"][model["default"]]["digest"] for name, model in told["models"].items()}


@contextmanager
def answering(cluster: FakeCluster, namespace: str) -> Iterator[str]:
    """The Service of a namespace without the server behind it: it says what pods were started for."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served = cluster.digests(namespace)
            body = json.dumps({"served": served, "refused": {}, "reason": ""}).encode()
            self.send_response(200 if served or self.path != "/readyz" else 503)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
