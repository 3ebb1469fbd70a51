"""A training run beside the checkout: a git worktree with its own parameters, sharing DVC's cache.

Nothing dirties the checkout and nothing commits by itself: the run's params.yaml and dvc.lock become
artifacts of the run.
"""

import fcntl
import hashlib
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from contract.errors import FlightlineError
from contract.locks import exclusive
from contract.strict import encode_json
from pipelines.building.config import PARAMS, read_yaml
from pipelines.building.repro import repro
from pipelines.machine.files import replace
from pipelines.machine.processes import Say
from pipelines.machine.settings import Settings


@dataclass(frozen=True)
class Run:
    """Where a run was built."""

    id: str
    root: Path

    @property
    def artifacts(self) -> Path:
        """Its artifacts, as DVC left them."""
        return self.root / "artifacts"


def candidate(
    model: str, as_of: datetime, settings: Settings, changes: Mapping[str, Any] | None = None
) -> str:
    """A hash of what a run would be made from: data up to a day, parameters and code of the last commit.

    What is not committed does not count, since no run is made from it; nor does the hour of the day.

    Raises:
        FlightlineError: there is no commit, or it has no section for the model.
    """
    committed = yaml.safe_load(git(settings, "show", f"HEAD:{PARAMS}"))
    if not isinstance(committed, dict) or not isinstance(committed.get(model), dict):
        raise FlightlineError(
            f"the last commit has no section '{model}' in {PARAMS}",
            "the parameters that a run is made from",
            "Commit them",
        )
    facts = {
        "data": f"{as_of.astimezone(UTC):%Y-%m-%d}",
        "params": {**_changed(committed[model], as_of, changes), "as_of": ""},
        "code": git(settings, "rev-parse", "HEAD").strip(),
    }
    return hashlib.sha256(encode_json(facts)).hexdigest()


@contextmanager
def under_way(name: str, settings: Settings) -> Iterator[None]:
    """Hold the retraining `name` to be the only one on this machine, and let `in_flight` say so.

    Raises:
        FlightlineError: another one is under way.
    """
    note = settings.runs / ".in-flight"
    with exclusive(_lock(settings), "retraining"):
        replace(note, name.encode())
        try:
            yield
        finally:
            note.unlink(missing_ok=True)


def in_flight(settings: Settings) -> str:
    """The name of the retraining that is under way on this machine, or nothing."""
    lock = _lock(settings)
    if not lock.exists():
        return ""
    with lock.open() as file:
        try:
            # The lock tells, not the note: the kernel frees it when its holder ends, however that was.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            with suppress(OSError):
                return (settings.runs / ".in-flight").read_text("utf-8")
            return "of a name not yet written"
    return ""


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
    name = f"{model}-{as_of.astimezone(UTC):%Y%m%d}-{candidate(model, as_of, settings, changes)[:8]}"
    root = settings.runs / name
    with exclusive(settings.runs / ".lock", "building of a run"):
        worktree(root, settings)
        everything = read_yaml(root / PARAMS)
        everything[model] = _changed(everything[model], as_of, changes)
        (root / PARAMS).write_text(yaml.safe_dump(everything, sort_keys=False), "utf-8")
        _keep_own(root / "dvc.lock", model)
        cache = settings.checkout / ".dvc" / "cache"
        (root / ".dvc" / "config.local").write_text(f"[cache]\n    dir = {cache}\n", "utf-8")
        repro(model, root, say)
    return Run(name, root)


def worktree(root: Path, settings: Settings, commit: str = "HEAD") -> None:
    """A checkout of `commit` in `root`; one that was interrupted while it was made is made anew.

    Raises:
        FlightlineError: there is no such commit, or the checkout is no repository.
    """
    whole = root.with_name(f".{root.name}.whole")  # written last
    if whole.exists() and (root / ".git").exists():
        return
    whole.unlink(missing_ok=True)
    if root.exists():
        shutil.rmtree(root)
    git(settings, "worktree", "prune")
    root.parent.mkdir(parents=True, exist_ok=True)
    # Twice --force: git keeps a worktree locked while it makes it, and one that was killed stays so.
    git(settings, "worktree", "add", "--force", "--force", "--detach", str(root), commit)
    whole.touch()


def git(settings: Settings, *words: str) -> str:
    """What git prints when it runs in the main checkout.

    Raises:
        FlightlineError: it fails.
    """
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


def _keep_own(path: Path, model: str) -> None:
    """Leave in a dvc.lock the stages of `model` alone: DVC reads and writes all of it after each stage."""
    if not path.is_file():
        return
    lock = read_yaml(path)
    own = {name: stage for name, stage in lock.get("stages", {}).items() if name.endswith(f"@{model}")}
    if own != lock.get("stages"):
        replace(path, yaml.safe_dump({**lock, "stages": own}, sort_keys=False).encode())


def _lock(settings: Settings) -> Path:
    return settings.runs / ".retraining.lock"


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
