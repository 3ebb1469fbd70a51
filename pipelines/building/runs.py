"""A training run beside the checkout: a git worktree with its own parameters, sharing DVC's cache.

Nothing dirties the checkout and nothing commits by itself: the run's params.yaml and dvc.lock become
artifacts of the run.
"""

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from contract.errors import FlightlineError
from contract.strict import encode_json
from pipelines.building.config import PARAMS, read_yaml, section
from pipelines.machine.locks import exclusive
from pipelines.machine.processes import Say
from pipelines.machine.settings import Settings

BUILD_S = 1800.0  # a build that takes longer hangs


@dataclass(frozen=True)
class Run:
    """Where a run was built."""

    id: str
    root: Path

    @property
    def artifacts(self) -> Path:
        """Its artifacts, as DVC left them."""
        return self.root / "artifacts"


def candidate(model: str, as_of: datetime, changes: Mapping[str, Any] | None = None) -> str:
    """A hash of what a run would be made from: moment of the data, parameters and code."""
    facts = {"as_of": _text(as_of), "params": _changed(section(model), as_of, changes), "code": _head()}
    return hashlib.sha256(encode_json(facts)).hexdigest()


def build(
    model: str,
    as_of: datetime,
    settings: Settings,
    changes: Mapping[str, Any] | None = None,
    say: Say = print,
) -> Run:
    """Build `model` as of `as_of` from the last commit, with `changes` to parameters (`train.max_iter`: 1).

    Running it again continues where it stopped; what DVC's cache holds is not built again.

    Raises:
        FlightlineError: there is no commit, or the build failed.
    """
    name = f"{model}-{as_of:%Y%m%d}-{candidate(model, as_of, changes)[:8]}"
    root = settings.runs / name
    with exclusive(settings.runs / ".lock", "retraining"):
        _worktree(root, settings)
        everything = read_yaml(root / PARAMS)
        everything[model] = _changed(everything[model], as_of, changes)
        (root / PARAMS).write_text(yaml.safe_dump(everything, sort_keys=False), "utf-8")
        cache = settings.checkout / ".dvc" / "cache"
        (root / ".dvc" / "config.local").write_text(f"[cache]\n    dir = {cache}\n", "utf-8")
        repro(model, root, say)
    return Run(name, root)


def repro(model: str | None, root: Path, say: Say = print) -> None:
    """`dvc repro` of one model, or of all, in the checkout `root`; each stage's own line goes to `say`.

    A second one in the same checkout waits for the first, where DVC would give up at once.

    Raises:
        FlightlineError: a stage failed; the last line it printed is part of the sentence.
    """
    with exclusive(root / ".dvc" / "tmp" / "repro.lock", "dvc repro", wait_s=BUILD_S):
        _repro(model, root, say)


def _repro(model: str | None, root: Path, say: Say) -> None:
    tools = Path(sys.executable).parent
    # The stages import the code of `root`: the interpreter puts its working folder first on its path.
    environment = {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1"}
    command = [str(tools / "dvc"), "repro", *([f"package@{model}"] if model else [])]
    process = subprocess.Popen(
        command, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    alarm = threading.Timer(BUILD_S, process.kill)
    alarm.start()
    last = ""
    try:
        for line in process.stdout or ():
            last = _tell(line.strip(), say) or last
        process.wait()
    except BaseException:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        raise
    finally:
        alarm.cancel()
        if process.stdout:
            process.stdout.close()
    if process.returncode:
        raise FlightlineError(
            f"dvc repro failed in {root} ({last or f'exit code {process.returncode}'})",
            "every stage to succeed",
            f"Correct the cause and run it again: cd {root} && dvc repro",
        )


def _tell(line: str, say: Say) -> str:
    """Show what a reader wants to see of DVC's output; return the line if it explains a failure."""
    if line.startswith(("Stage '", "Running stage")):
        if "skipping" in line:
            say(f"  {line.split(chr(39))[1]}: unchanged, reused")
        return ""
    noise = ("Updating lock file", "> ", "To track", "git add", "To enable", "dvc config", "Use `dvc push`")
    if not line or line.startswith((*noise, "Data and pipelines")):
        return ""
    say(f"  {line}")
    return line if line.startswith("error:") or "ERROR" in line else ""


def _worktree(root: Path, settings: Settings) -> None:
    _git(settings, "worktree", "prune")
    if not (root / ".git").exists():
        root.parent.mkdir(parents=True, exist_ok=True)
        _git(settings, "worktree", "add", "--force", "--detach", str(root), "HEAD")


def _git(settings: Settings, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(settings.checkout), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if done.returncode:
        raise FlightlineError(
            f"git {words[0]} failed ({(done.stderr.strip().splitlines() or ['no reason given'])[-1]})",
            "a git checkout with at least one commit",
            "Clone the repository with git",
        )
    return done.stdout


def _head() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False, timeout=60
    )
    return done.stdout.strip()


def _changed(plain: Mapping[str, Any], as_of: datetime, changes: Mapping[str, Any] | None) -> dict[str, Any]:
    """A copy of a model's parameters with another `as_of` and dotted keys set."""
    result = {key: dict(value) if isinstance(value, dict) else value for key, value in plain.items()}
    result["as_of"] = _text(as_of)
    for dotted, value in (changes or {}).items():
        stage, _, key = dotted.partition(".")
        result[stage][key] = value
    return result


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
