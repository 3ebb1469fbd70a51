"""Many files scored into one folder, each exactly once, however often the run is cut off and started again.

An output appears under its final name in one step, and that is all that says that its input is done. It
carries the hash of the input and the digest of the model: no second record could disagree with it.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq

from contract.errors import FlightlineError
from contract.locks import exclusive
from pipelines.machine.files import scratch, sync
from pipelines.machine.processes import Say
from pipelines.scoring.inputs import SUFFIX, Input, require_unchanged, sha256_of
from pipelines.scoring.tables import PREFIX, Task, score_table
from serving.models.predictor import Predictor

EVERY_S = 2.0  # between two lines of progress


@dataclass(frozen=True)
class Scored:
    """One input and what came of it."""

    input: str
    output: str  # empty where it was refused
    sha256: str
    rows: int
    scored: int
    rejected: int
    first: str  # the first reason for a rejection
    reused: bool  # it was done already
    problem: str = ""  # why the whole file was refused


@dataclass(frozen=True)
class Order:
    """What is to be done with every input."""

    output: Path
    rejects: Path | None
    entity: str
    threads: int = 0  # one a core


def score_all(inputs: list[Input], order: Order, predictor: Predictor, say: Say) -> Iterator[Scored]:
    """Score what is not done yet, input by input; a file that is refused does not stop the others.

    Raises:
        FlightlineError: another run works there, or the folder holds answers of another model or version, or
            to an input that has changed since.
        OSError: the disk refuses.
    """
    _apart(order)
    with exclusive(order.output / ".lock", f"run of scoring into {order.output}", wait_s=2):
        for folder in filter(None, (order.output, order.rejects)):
            _sweep(folder)
        _same_model(order.output, predictor)
        for number, item in enumerate(inputs, start=1):
            digest = sha256_of(item)
            done = _done(order.output, item, digest)
            if done is not None:
                yield done
                continue
            try:
                told = _progress(say, f"{number} of {len(inputs)}, {item.name}")
                yield _score(item, digest, order, predictor, told)
            except FlightlineError as error:
                yield Scored(str(item.path), "", digest, 0, 0, 0, "", reused=False, problem=str(error))


def outputs(folder: Path) -> list[Path]:
    """The answers in a folder that `score_all` has filled, in the order of their names."""
    found = folder.rglob(f"*{SUFFIX}")
    return sorted(
        path for path in found if not any(part[0] == "." for part in path.relative_to(folder).parts)
    )


def facts(path: Path) -> dict[str, str]:
    """What an output says of itself: input, sha256, model, version, digest, scored_at and its counts.

    Raises:
        FlightlineError: it is no output of a scoring run.
    """
    metadata = pq.read_metadata(path).metadata or {}
    found = {
        key.decode().removeprefix(PREFIX): value.decode()
        for key, value in metadata.items()
        if key.decode().startswith(PREFIX)
    }
    if "digest" not in found:
        raise FlightlineError(f"{path} was not written by a scoring run", "its outputs alone", "Move it away")
    return found


def _score(
    item: Input, digest: str, order: Order, predictor: Predictor, progress: Callable[[int, int], None]
) -> Scored:
    target = order.output / f"{item.name}{SUFFIX}"
    metadata = {
        "input": str(item.path),
        "sha256": digest,
        "model": predictor.contract.model,
        "version": predictor.version,
        "digest": predictor.bundle.digest,
        "scored_at": datetime.now(UTC).isoformat(),
    }
    with scratch(order.output) as part, scratch(order.rejects or order.output) as other:
        aside = other / "rejects" if order.rejects is not None else None
        task = Task(item.path, part / "answers", aside, order.entity, metadata)
        counted = score_table(task, predictor, progress=progress, threads=order.threads)
        require_unchanged(item)
        if aside is not None and order.rejects is not None:
            # First: whoever finds the answers finds the rejects, too.
            kept = order.rejects / target.relative_to(order.output)
            if counted.rejected:
                _appear(aside, kept)
            else:
                kept.unlink(missing_ok=True)
        _appear(part / "answers", target)
    return _told(item, target, facts(target), reused=False)


def _told(item: Input, target: Path, found: dict[str, str], *, reused: bool) -> Scored:
    return Scored(
        input=str(item.path),
        output=str(target),
        sha256=found["sha256"],
        rows=int(found["rows"]),
        scored=int(found["scored"]),
        rejected=int(found["rejected"]),
        first=found["first"],
        reused=reused,
    )


def _done(output: Path, item: Input, digest: str) -> Scored | None:
    """What an earlier run made of the input.

    Raises:
        FlightlineError: it made it of other bytes.
    """
    target = output / f"{item.name}{SUFFIX}"
    if not target.exists():
        return None
    found = facts(target)
    if found["sha256"] != digest:
        raise FlightlineError(
            f"{item.path} is not the file that {target} was made of (sha256 {found['sha256'][:12]})",
            "inputs that are added and never changed",
            f"Remove {target} to have it scored again, or give the new data a new name",
        )
    return _told(item, target, found, reused=True)


def _same_model(output: Path, predictor: Predictor) -> None:
    """One folder holds the answers of one bundle."""
    for path in outputs(output):
        found = facts(path)
        if found["digest"] != predictor.bundle.digest:
            raise FlightlineError(
                f"{output} holds answers of {found['model']} version {found['version']} "
                f"({found['digest'][:12]})",
                f"those of {predictor.contract.model} version {predictor.version} "
                f"({predictor.bundle.digest[:12]})",
                f"Choose another --output, or score with --version {found['version']}",
            )


def _apart(order: Order) -> None:
    """Rejects among the answers would be taken for answers."""
    if order.rejects is not None and order.rejects.absolute().is_relative_to(order.output.absolute()):
        raise FlightlineError(
            f"{order.rejects} lies in {order.output}", "a folder of its own", "Choose another --rejects"
        )


def _sweep(folder: Path) -> None:
    """Remove what a kill left half made; the caller holds the lock, so that it is nobody's."""
    for part in folder.glob(".part-*"):
        shutil.rmtree(part)


def _progress(say: Say, what: str) -> Callable[[int, int], None]:
    told = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal told
        if time.monotonic() - told >= EVERY_S:
            told = time.monotonic()
            say(f"  {what}: {done:,} of {total:,} rows")

    return tell


def _appear(made: Path, target: Path) -> None:
    """Put a whole file into its place in one step, and have it on the disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    sync(made)
    made.replace(target)
    sync(target.parent)
