"""A Docker engine for tests: one of our own, that leaves nothing behind.

Where CI is set the engine that answers is taken, since the machine is thrown away. Elsewhere that one may
hold images of a person, by the very names that tests give and take away.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.plugins.require import find, lack

START_S, STOP_S, BASE_S = 30.0, 30.0, 300.0
BASE = "flightline-test-base"
# No bridge, no rule of a firewall, no forwarding: the machine's own network stays as it is.
QUIET = ("--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false")


@contextmanager
def running_engine() -> Iterator[dict[str, str]]:
    """The variables that lead to an engine which holds a base image, for the length of the block.

    Skips (or fails, where REQUIRE asks for it) if there is none and none can be started.
    """
    if os.environ.get("CI") and _answers({}):
        with _base({}, os.environ.get("FLIGHTLINE_BASE_IMAGE", "")) as name:
            yield {"FLIGHTLINE_BASE_IMAGE": name}
        return
    dockerd = find("docker")
    if os.geteuid() != 0:
        lack("docker", "only root can start a Docker engine")
    # Not below pytest's folders: the path of a socket has at most 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="fl-"))
    try:
        with _started(dockerd, folder) as variables, _base(variables, "") as name:
            yield {**variables, "FLIGHTLINE_BASE_IMAGE": name}
    finally:
        left = _mounts(folder)
        for mount in reversed(left):
            subprocess.run(["umount", "--lazy", mount], check=False, timeout=60)
        shutil.rmtree(folder)
        assert not left, f"the engine left {left} mounted"


@contextmanager
def _started(dockerd: str, folder: Path) -> Iterator[dict[str, str]]:
    host = f"unix://{folder}/s"
    variables = {"DOCKER_HOST": host, "DOCKER_CONFIG": str(folder / "config")}
    places = (f"--data-root={folder}/data", f"--exec-root={folder}/exec", f"--pidfile={folder}/pid")
    with (folder / "log").open("wb") as log:
        engine = subprocess.Popen([dockerd, f"--host={host}", *places, *QUIET], stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + START_S
            while not _answers(variables):
                if engine.poll() is not None or time.monotonic() > deadline:
                    said = (folder / "log").read_text(errors="replace").strip().splitlines() or ["nothing"]
                    lack("docker", f"dockerd does not run here, it says: {said[-1][:300]}")
                threading.Event().wait(0.1)
            yield variables
        finally:
            engine.send_signal(signal.SIGTERM)
            try:
                engine.wait(STOP_S)
            except subprocess.TimeoutExpired:
                engine.kill()
                engine.wait(STOP_S)


@contextmanager
def _base(variables: dict[str, str], given: str) -> Iterator[str]:
    """The name of the base image: `given`, or a Debian that is made here, and removed again."""
    if given:
        yield given
        return
    mmdebstrap = find("mmdebstrap")
    options = ("--variant=minbase", "--include=python3,ca-certificates", "--format=tar", "--quiet")
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "base.tar"
        command = [mmdebstrap, *options, "bookworm", str(made)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=BASE_S, check=False)
        if done.returncode != 0:
            lack("mmdebstrap", f"mmdebstrap made no base image: {' '.join(done.stderr.split())[-300:]}")
        _docker(variables, "import", str(made), BASE)
    try:
        yield BASE
    finally:
        _docker(variables, "image", "rm", "--force", BASE)


def _docker(variables: dict[str, str], *words: str) -> None:
    done = subprocess.run(
        ["docker", *words],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=BASE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def _answers(variables: dict[str, str]) -> bool:
    """Whether an engine does. The command line alone, as docker-ce-cli has it, is none."""
    if not shutil.which("docker"):
        return False
    command = ["docker", "version", "--format", "{{.Server.Version}}"]
    done = subprocess.run(
        command, env={**os.environ, **variables}, capture_output=True, timeout=60, check=False
    )
    return done.returncode == 0


def _mounts(folder: Path) -> list[str]:
    """What is mounted below `folder`, the outermost first."""
    points = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return sorted(point for point in points if point.startswith(f"{folder}/"))
