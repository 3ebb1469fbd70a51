"""Ctrl-C in the middle of a single command: one sentence, code 130, nothing left; the same command converges.

A launcher runs the real command and presses Ctrl-C for its whole process group at a chosen moment: right
after the command's N-th write, or right after it started its N-th child.
"""

import hashlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pipelines.demonstration.services import CLOCKS
from tests.journeys.conftest import ROOT, World, until, world_in

pytestmark = pytest.mark.slow

SENTENCE = "interrupted; run the same command again to continue."
STAGES = tuple(yaml.safe_load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"])
# `kind`: write (a file was written) or child (a process was started); `number` counts them from one.
LAUNCHER = """
import os, runpy, signal, subprocess, sys
from pathlib import Path
import polars

name, kind, number, *words = sys.argv[1:]
left = int(number)

def after(effect):
    def call(*given, **more):
        global left
        answer = effect(*given, **more)
        left -= 1
        if left == 0:
            os.killpg(0, signal.SIGINT)
        return answer
    return call

if kind == "write":
    Path.write_bytes = after(Path.write_bytes)
    polars.DataFrame.write_parquet = after(polars.DataFrame.write_parquet)
    os.fsync = after(os.fsync)
else:
    class Popen(subprocess.Popen):
        __init__ = after(subprocess.Popen.__init__)
    subprocess.Popen = Popen
sys.argv[1:] = words
runpy.run_module(f"pipelines.{name}", run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One world for all: MLflow and services run, and iris is built, registered and live."""
    with world_in(tmp_path_factory.mktemp("commands")) as made:
        made.variables["PYTHONUNBUFFERED"] = "1"
        made.variables["PYTHONPATH"] = str(ROOT)
        made.variables |= CLOCKS  # a replay dates its requests
        yield made


@pytest.fixture(scope="module")
def built(shared: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every stage of iris has run. Read only."""
    folder = tmp_path_factory.mktemp("built")
    for name in ("params.yaml", "policy.yaml"):
        shutil.copy(ROOT / name, folder / name)
    for stage in STAGES:
        code, printed = shared.run(sys.executable, "-m", f"pipelines.{stage}", "iris", cwd=folder)
        assert code == 0, printed
    return folder


@pytest.fixture(scope="module")
def serving(shared: World) -> Iterator[World]:
    """The shared world with MLflow, staging and production up, and iris live."""
    for words in (
        ("local", "up", "--servers-only"),  # whatever is cut off stays as it is until the test acts
        ("build", "iris"),
        ("qualify", "iris"),
        ("register", "iris"),
        ("deploy", "staging", "iris"),
        ("promote", "iris"),
    ):
        code, printed = shared.run(sys.executable, "-m", f"pipelines.{words[0]}", *words[1:])
        assert code == 0, printed
    yield shared
    shared.run(sys.executable, "-m", "pipelines.local", "down")


def cut_off(world: World, moment: tuple[str, int], *words: str, cwd: Path = ROOT) -> bool:
    """Run a command that gets Ctrl-C at `moment`, look at how it ends; False where it ended before."""
    before = set(world.left())
    name, *rest = words
    kind, number = moment
    code, printed = world.run(sys.executable, "-c", LAUNCHER, name, kind, str(number), *rest, cwd=cwd)
    assert "Traceback" not in printed, printed
    until(lambda: set(world.left()) <= before, "the end of what was started", 20)
    if code == 0:
        return False
    assert code == 130, printed
    assert printed.strip().splitlines()[-1] == SENTENCE, printed
    return True


def contents(folder: Path) -> dict[str, str]:
    """Every file of a folder with the hash of its bytes."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_was_cut_off_makes_the_same_again(
    shared: World, built: Path, tmp_path: Path, stage: str
) -> None:
    """After its first and its second write; whatever lay about then is not in its way."""
    place = tmp_path / "work"
    shutil.copytree(built, place)
    assert cut_off(shared, ("write", 1), stage, "iris", cwd=place), "it wrote nothing"
    cut_off(shared, ("write", 2), stage, "iris", cwd=place)  # some stages write one file only
    code, printed = shared.run(sys.executable, "-m", f"pipelines.{stage}", "iris", cwd=place)
    assert code == 0, printed
    assert contents(place / "artifacts") == contents(built / "artifacts")


@pytest.mark.parametrize(
    ("words", "moment"),
    [
        (("build", "iris"), ("child", 1)),
        (("qualify", "iris"), ("write", 1)),
        # Registration writes nothing where it was done before: test_kill_points.py has it.
        (("deploy", "staging", "iris"), ("write", 2)),
        (("promote", "iris"), ("write", 2)),
        (("retrain", "iris", "--as-of", "2013-02-01"), ("write", 1)),
        (("retrain", "iris", "--as-of", "2013-02-02"), ("child", 4)),
        (("retrain", "iris", "--as-of", "2013-02-03"), ("child", 6)),
        (("replay", "iris", "--from", "1936-09-01", "--until", "1936-09-02"), ("write", 1)),
    ],
    ids=lambda value: " ".join(map(str, value)),
)
def test_a_command_that_was_cut_off_does_the_same_again(
    serving: World, words: tuple[str, ...], moment: tuple[str, int]
) -> None:
    """What runs goes on running, nothing new stays, and the command itself is taken up again."""
    code, printed = serving.run(sys.executable, "-m", "pipelines.ledger", "verify")
    assert code == 0, printed
    assert cut_off(serving, moment, *words), f"it ended before {moment}"
    code, printed = serving.run(sys.executable, "-m", f"pipelines.{words[0]}", *words[1:])
    assert code in {0, 10}, printed
    code, printed = serving.run(sys.executable, "-m", "pipelines.ledger", "verify")
    assert code == 0, printed
    assert "chain intact" in printed
