"""Build a version again, in a worktree of its commit, without a single output of an earlier build."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from contract.locks import exclusive
from pipelines.building.repro import repro
from pipelines.building.runs import git, worktree
from pipelines.machine.files import scratch
from pipelines.machine.processes import Say
from pipelines.machine.settings import Settings
from pipelines.reproducing.origin import Origin
from pipelines.track import LINEAGE


@contextmanager
def workplace(settings: Settings) -> Iterator[Path]:
    """A folder for one reproduction at a time; inside it, a scratch folder for downloads.

    Raises:
        FlightlineError: another one is under way.
    """
    parent = settings.var / "reproductions"
    with exclusive(parent / ".lock", "reproduction", wait_s=2.0), scratch(parent) as folder:
        yield folder


def rebuild(origin: Origin, settings: Settings, say: Say) -> Path:
    """The root of a worktree in which every stage of the model ran; `remove` takes it away.

    The lineage's dvc.lock is not put there: DVC finds neither a lock, nor a cache, nor an output.

    Raises:
        FlightlineError: the build fails.
    """
    root = _root(origin, settings)
    remove(origin, settings)
    worktree(root, settings, origin.provenance.commit)
    for name in LINEAGE:
        shutil.copy(origin.lineage / name, root / name)
    (root / "dvc.lock").unlink()
    repro(origin.version.model, root, say, anew=True)
    return root


def remove(origin: Origin, settings: Settings) -> None:
    """Take away what `rebuild` left, now or in an interrupted call."""
    root = _root(origin, settings)
    root.with_name(f".{root.name}.whole").unlink(missing_ok=True)
    if root.exists():
        shutil.rmtree(root)
    git(settings, "worktree", "prune")


def _root(origin: Origin, settings: Settings) -> Path:
    return settings.var / "reproductions" / f"{origin.version.model}-{origin.version.version}"
