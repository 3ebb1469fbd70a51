"""Ctrl-C in the middle of the demonstration's steps, and what must be true after it.

The moments are dealt out to two files, so that two workers share them. The tests of a file share one world:
each demonstration but the first begins in what an interrupted one left.
"""

import os
import queue
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from contract.attestation import read_trust
from contract.bundle import open_bundle
from contract.release import attested
from contract.statements import ManifestStatement, Provenance, Qualification
from pipelines import demo, ledger
from pipelines.delivery.registry import CHAMPION
from pipelines.demonstration.declared import DECLARED, read_declared
from pipelines.demonstration.services import Services
from pipelines.demonstration.story import MODEL, Demo
from pipelines.machine.ports import is_free
from pipelines.machine.settings import Settings
from pipelines.register import QUALIFIED
from tests.journeys.conftest import PORTS, ROOT, World, until, world_in

COMMAND = (sys.executable, "-m", "pipelines.demo")
SENTENCE = "interrupted; run the same command again to continue."
SIGN_S = 1.0  # a step that says nothing for so long is in the middle of something
LAST_WORDS_S = 90


def names() -> list[str]:
    """The steps of the demonstration as the code has them; it lives through its first month only."""
    settings = Settings.from_environment({})
    declared = read_declared(MODEL, ROOT / DECLARED, ROOT / "params.yaml")
    steps = demo.steps(Demo(settings, Services(settings), declared))
    months = [step.name for step in steps if step.until_earned]
    return [step.name for step in steps if step.name not in months[1:]]


# Deep inside the two steps whose first sign of work is only the beginning of it.
DEEPER = [
    ("April: traffic, drift check, retraining", "retraining flights"),
    ("try a declared candidate", "  split"),
    ("try a declared candidate", "staging: ok   ready"),
]


def moments() -> list[tuple[str, str]]:
    """Every moment of an interrupt, as a step and a sign, in the order of the demonstration.

    Raises:
        ValueError: a moment is of a step that there is not; one that is renamed takes its moments along.
    """
    order = names()
    return sorted([*((name, "") for name in order), *DEEPER], key=lambda moment: order.index(moment[0]))


@contextmanager
def one_world(factory: pytest.TempPathFactory) -> Iterator[World]:
    """One world for all tests of a file."""
    with world_in(factory.mktemp("interrupted")) as made:
        made.variables["PYTHONUNBUFFERED"] = "1"  # as on a terminal, a line is seen when it is said
        yield made


def must_leave_nothing_half_done(world: World, step: str, sign: str) -> None:
    """Exit code 130, one sentence at the end, no traceback, no process, no half-registered model."""
    printed = interrupted(world, step, sign)
    assert "Traceback" not in printed, printed
    assert printed.strip().splitlines()[-1] == SENTENCE, printed
    nothing_is_left(world)
    nothing_is_half_done(world)


def interrupted(world: World, step: str, sign: str = "") -> str:
    """Run the demonstration, press Ctrl-C in the middle of `step`, and return all that was printed.

    The middle is the first line that begins with `sign`, or without one the first line of the step, or
    `SIGN_S` of silence.
    """
    process = world.start(*COMMAND)
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                lines.put(line)
        lines.put(None)

    reader = threading.Thread(target=read)
    reader.start()
    printed: list[str] = []

    def hear(seconds: float) -> str:
        line = lines.get(timeout=seconds)
        assert line is not None, f"it ended before {step}, {sign}\n{''.join(printed)}"
        printed.append(line)
        return line

    while not hear(300).startswith(f"── {step}"):
        pass
    try:
        while not hear(300 if sign else SIGN_S).startswith(sign):
            pass
    except queue.Empty:
        assert not sign, f"{sign} was not said\n{''.join(printed)}"
    assert not printed[-1].startswith("── ") or step in printed[-1], "the step was over"
    world.interrupt(process)
    process.wait(LAST_WORDS_S)
    reader.join(LAST_WORDS_S)
    while (line := lines.get(timeout=1)) is not None:
        printed.append(line)
    assert process.returncode == 130, "".join(printed)
    return "".join(printed)


def nothing_is_left(world: World) -> None:
    """No process of this world, nobody in the terminal's group, and every port free."""
    until(lambda: world.left() == [], f"the end of {world.left()}", 20)
    # What git had started for itself ends a moment after git.
    until(lambda: is_over(world.started[-1].pid), "the end of everybody in the terminal's group", 20)
    assert [name for name in PORTS if not is_free(int(world.variables[name]))] == []


def is_over(group: int) -> bool:
    """Whether nobody is left in a process group."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def nothing_is_half_done(world: World) -> None:
    """Every version is whole and signed, the ledger verifies, the champion is what it says or is to be."""
    settings = Settings.from_environment(world.variables | {"FLIGHTLINE_VAR": str(world.var / "demo")})
    entries = ledger.read(settings.ledger)
    assert not settings.ledger.exists() or settings.ledger.read_bytes().endswith(b"\n")
    assert list(settings.var.rglob(".part-*")) == []
    if not settings.mlflow_database.exists():
        assert entries == []
        return
    with closing(sqlite3.connect(settings.mlflow_database)) as database:
        if not database.execute("select 1 from sqlite_master where name = 'model_versions'").fetchone():
            return  # interrupted while the database was made
        for model, version, run in database.execute("select name, version, run_id from model_versions"):
            tags = dict(
                database.execute(
                    "select key, value from model_version_tags where name = ? and version = ?",
                    (model, version),
                ).fetchall()
            )
            assert {"digest", "contract", "as_of", QUALIFIED} <= tags.keys(), (model, version, tags)
            (release,) = (settings.var / "mlartifacts").glob(f"*/{run}/artifacts")
            is_signed(release, model, tags["digest"], run, settings)
        champions = dict(
            database.execute("select name, version from registered_model_aliases where alias = ?", [CHAMPION])
        )
    for model in ledger.models(entries, "production"):
        placed = ledger.live(entries, "production", model)
        assert placed is not None
        noted = settings.var / "pending-aliases" / f"production.{model}.json"
        assert str(champions.get(model)) == placed.version or noted.is_file()
    assert champions.keys() <= set(ledger.models(entries, "production"))


def is_signed(release: Path, model: str, digest: str, run: str, settings: Settings) -> None:
    """Assert that a version's artifacts are the bundle it names, with the trainer's three statements."""
    trust = read_trust(settings.trust)
    assert open_bundle(release / "bundle", digest).model == model
    attested(release, ManifestStatement, model, digest, trust)
    assert attested(release, Qualification, model, digest, trust).outcome == "accepted"
    assert attested(release, Provenance, model, digest, trust).run_id == run
