"""The libraries of a server as a tree of files: the lock file's group `serving`, each wheel by its hash."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from contract.errors import ConfigError, FlightlineError
from pipelines.images.declared import Images
from pipelines.machine.files import scratch
from pipelines.machine.settings import ROOT, Settings

GROUP = "serving"
INSTALL_S = 600.0
ARCHITECTURES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}


def platform(architecture: str, images: Images) -> str:
    """What wheels are chosen for, such as x86_64-manylinux_2_28.

    Raises:
        ConfigError: no wheels are known for the engine's architecture.
    """
    known = ARCHITECTURES.get(architecture)
    if known is None:
        raise ConfigError(
            f"the engine's architecture is '{architecture}'", "x86_64 or aarch64", "Use another engine"
        )
    return f"{known}-manylinux_{images.glibc.replace('.', '_')}"


def requirements(root: Path = ROOT) -> str:
    """The `serving` group of uv.lock with all hashes, one requirement after another.

    Raises:
        ConfigError: there is no uv.
        FlightlineError: uv.lock cannot be read.
    """
    options = ("--frozen", "--only-group", GROUP, "--no-emit-project", "--no-annotate", "--no-header")
    return _uv("export", "--format", "requirements-txt", *options, "--quiet", "--project", str(root))


def tree(wanted: str, target: str, images: Images, settings: Settings) -> Path:
    """The folder with what `wanted` asks for, installed for `target`; made once, whole or not at all.

    Wheels alone, each with a hash of the lock file: nothing is built, and nothing that they hold is run.

    Raises:
        FlightlineError: a wheel is not to be had.
    """
    key = hashlib.sha256(f"{wanted}\0{target}\0{images.python}".encode()).hexdigest()
    folder = settings.var / "images" / "dependencies"
    if not (folder / key).is_dir():
        with scratch(folder) as part:
            (part / "requirements.txt").write_text(wanted, encoding="utf-8")
            where = ("--target", str(part / "tree"), "--python", sys.executable)
            chosen = ("--python-version", images.python, "--python-platform", target)
            safe = ("--require-hashes", "--no-deps", "--only-binary", ":all:")
            _uv("pip", "install", "--quiet", *where, *chosen, *safe, "-r", str(part / "requirements.txt"))
            (part / "tree").rename(folder / key)
        for other in folder.iterdir():  # of an earlier lock file
            if other.name != key and not other.name.startswith("."):
                shutil.rmtree(other, ignore_errors=True)
    return folder / key


def _uv(*words: str) -> str:
    own = ROOT / ".uv" / "bin" / "uv"
    command = shutil.which("uv") or (str(own) if own.exists() else "")
    if not command:
        raise ConfigError("uv is not installed", "it, to read uv.lock", "Run `make uv`")
    try:
        done = subprocess.run(
            [command, *words], capture_output=True, text=True, timeout=INSTALL_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise FlightlineError(
            f"uv {words[0]} did not end within {INSTALL_S:.0f} s", "the index to answer", "Run this again"
        ) from None
    if done.returncode != 0:
        text = " ".join(done.stderr.split())[-300:]
        raise FlightlineError(
            f"uv {words[0]} failed: {text}", "the wheels of uv.lock", "Correct what it says"
        )
    return done.stdout
