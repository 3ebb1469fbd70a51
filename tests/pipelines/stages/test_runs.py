"""A run beside the checkout: what it is made from, how it continues, and what is left when it is stopped."""

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import psutil
import pytest
import yaml

from contract.errors import FlightlineError
from pipelines.building import repro, runs
from pipelines.building.runs import candidate, in_flight, under_way
from pipelines.machine.settings import Settings
from tests.pipelines.stages.conftest import ROOT

DAY = datetime(2013, 5, 1, tzinfo=UTC)
# A stage that says who it is and then works for longer than anybody waits.
BUSY = """
import os, pathlib, threading
pathlib.Path("pid.part").write_text(str(os.getpid()))
pathlib.Path("pid.part").rename("pid")
threading.Event().wait(300)
"""
BUILD = "from pathlib import Path; from pipelines.building import repro; from pipelines.cli import command; "


def git(folder: Path, *words: str) -> str:
    """Run git in `folder` as somebody."""
    who = ["-c", "user.name=tester", "-c", "user.email=tester@example.org"]
    done = subprocess.run(["git", "-C", folder, *who, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def settings(tmp_path) -> Settings:
    """A checkout with one commit, and a `var` beside it."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("params.yaml", "policy.yaml"):
        shutil.copy(ROOT / name, checkout)
    git(checkout, "init", "--quiet")
    git(checkout, "add", ".")
    git(checkout, "commit", "--quiet", "-m", "first")
    found = Settings.from_environment({"FLIGHTLINE_VAR": str(tmp_path / "var")})
    return dataclasses.replace(found, checkout=checkout)


def edit(settings: Settings) -> None:
    """Change a parameter of iris in the checkout, without a commit."""
    path = settings.checkout / "params.yaml"
    path.write_text(path.read_text().replace("C: 1.0", "C: 2.0"))


def test_a_candidate_is_its_day_and_not_the_clock(settings):
    """A check every hour asks for the same retraining; the next day's data are others."""
    one = candidate("iris", DAY, settings)
    assert candidate("iris", DAY + timedelta(hours=23), settings) == one
    assert candidate("iris", DAY.astimezone(timezone(-timedelta(hours=5))), settings) == one
    assert candidate("iris", DAY + timedelta(days=1), settings) != one
    assert candidate("iris", DAY, settings, {"train.C": 3.0}) != one
    assert candidate("flights", DAY, settings) != one


def test_a_candidate_is_what_is_committed(settings):
    """A run is made from the last commit, so what is only in the checkout does not change it."""
    before = candidate("iris", DAY, settings)
    edit(settings)
    assert candidate("iris", DAY, settings) == before
    git(settings.checkout, "commit", "--quiet", "-am", "second")
    assert candidate("iris", DAY, settings) != before


def test_without_a_commit_or_a_section_there_is_no_candidate(settings):
    """One sentence each."""
    (settings.checkout / "params.yaml").write_text("flights: {}\n")
    git(settings.checkout, "commit", "--quiet", "-am", "lost")
    with pytest.raises(FlightlineError, match=r"no section 'iris' in params\.yaml"):
        candidate("iris", DAY, settings)
    shutil.rmtree(settings.checkout / ".git")
    with pytest.raises(FlightlineError, match="git show failed"):
        candidate("iris", DAY, settings)


def test_a_worktree_is_made_once(settings):
    """What a build left in it stays for the next one."""
    root = settings.runs / "run"
    runs.worktree(root, settings)
    (root / "artifacts").mkdir()
    runs.worktree(root, settings)
    assert (root / "artifacts").is_dir()
    assert (root / "params.yaml").read_text() == (settings.checkout / "params.yaml").read_text()


@pytest.mark.parametrize("locked", [False, True])
def test_a_worktree_that_was_interrupted_is_made_anew(settings, locked):
    """Killed while git wrote: the link is there, files are not, and git may still hold it locked."""
    root = settings.runs / "run"
    runs.worktree(root, settings)
    root.with_name(".run.whole").unlink()
    (root / "params.yaml").unlink()
    if locked:
        git(settings.checkout, "worktree", "lock", "--reason", "initializing", str(root))
    runs.worktree(root, settings)
    assert (root / "params.yaml").is_file()
    assert git(root, "status", "--porcelain") == ""


def test_a_worktree_that_was_removed_by_hand_is_made_anew(settings):
    """The note that it was whole is not believed where it is gone."""
    root = settings.runs / "run"
    runs.worktree(root, settings)
    shutil.rmtree(root)
    runs.worktree(root, settings)
    assert (root / "params.yaml").is_file()


def test_a_run_begins_with_what_is_locked_of_its_own_model(settings, monkeypatch):
    """The other models' stages are no business of it; its own stay to the letter, also in the checkout."""
    both = {"schema": "2.0", "stages": {"train@iris": {"cmd": "a"}, "train@flights": {"cmd": "b"}}}
    lock = settings.checkout / "dvc.lock"
    lock.write_text(yaml.safe_dump(both))
    (settings.checkout / ".dvc").mkdir()
    (settings.checkout / ".dvc" / "config").write_text("")
    git(settings.checkout, "add", "--all")
    git(settings.checkout, "commit", "--quiet", "-m", "locked")
    monkeypatch.setattr(runs, "repro", lambda *_: None)
    run = runs.build("iris", DAY, settings, say=lambda _: None)
    assert yaml.safe_load((run.root / "dvc.lock").read_text()) == {
        **both,
        "stages": {"train@iris": {"cmd": "a"}},
    }
    assert yaml.safe_load(lock.read_text()) == both


def test_a_retraining_under_way_is_seen_while_it_lasts(settings):
    """The decision waits for it; a note that a killed one left is not believed."""
    assert in_flight(settings) == ""
    with under_way("iris as of 2013-05-01", settings):
        assert in_flight(settings) == "iris as of 2013-05-01"
    assert in_flight(settings) == ""
    (settings.runs / ".in-flight").write_text("a ghost")
    assert in_flight(settings) == ""


@pytest.fixture
def busy(tmp_path) -> Path:
    """A DVC project with one stage that never ends by itself."""
    folder = tmp_path / "busy"
    folder.mkdir()
    (folder / "busy.py").write_text(BUSY)
    (folder / "dvc.yaml").write_text(f"stages:\n  wait:\n    cmd: {sys.executable} busy.py\n")
    dvc = Path(sys.executable).parent / "dvc"
    subprocess.run([dvc, "init", "--no-scm", "--quiet"], cwd=folder, check=True, capture_output=True)
    return folder


# Says that it is there, and looks for the other one.
MEETING = """
import pathlib, sys, time
mine, other = sys.argv[1:]
pathlib.Path(mine + ".here").touch()
deadline = time.monotonic() + 60
while not pathlib.Path(other + ".here").exists():
    if time.monotonic() > deadline:
        sys.exit("error: " + mine + " waited in vain")
    time.sleep(0.02)
print(mine, "met", other)
"""
MET = """
stages:
  meet:
    foreach: {models}
    do:
      cmd: {cmd}
      outs:
        - out_${{item}}
"""


@pytest.fixture
def project(tmp_path) -> Callable[[str, str], Path]:
    """Make a DVC project of one stage for each of some models."""

    def make(models: str, cmd: str) -> Path:
        (tmp_path / "meeting.py").write_text(MEETING)
        (tmp_path / "dvc.yaml").write_text(MET.format(models=models, cmd=json.dumps(cmd)))
        dvc = Path(sys.executable).parent / "dvc"
        subprocess.run([dvc, "init", "--no-scm", "--quiet"], cwd=tmp_path, check=True, capture_output=True)
        return tmp_path

    return make


def test_models_are_built_side_by_side(project):
    """Each waits for the other; one after the other would wait in vain."""
    said: list[str] = []
    other = "$(echo ab | tr -d ${item})"
    root = project("[a, b]", f"{sys.executable} meeting.py ${{item}} {other} && touch out_${{item}}")
    repro.repro(None, root, said.append)
    assert sorted(line for line in said if "met" in line) == ["  a met b", "  b met a"]
    assert {"meet@a", "meet@b"} <= set(yaml.safe_load((root / "dvc.lock").read_text())["stages"])


def test_one_model_that_cannot_be_built_leaves_the_others_to_be_built(project):
    """Its own last line is the reason; the other one's outcome is there."""
    command = "test ${item} != bad || { echo error: nothing works; exit 3; }; touch out_${item}"
    root = project("[good, bad]", command)
    with pytest.raises(FlightlineError, match="dvc repro failed") as failed:
        repro.repro(None, root, lambda _: None)
    assert "bad" in failed.value.found
    assert "good" not in failed.value.found
    assert (root / "out_good").exists()
    assert not (root / "out_bad").exists()


@contextlib.contextmanager
def building(folder: Path, code: str = "") -> Iterator[tuple[subprocess.Popen[str], psutil.Process]]:
    """Build in a process of its own; it and its stage, once that is at work."""
    with subprocess.Popen(
        [sys.executable, "-c", f"{BUILD}{code}command(lambda _: repro.repro(None, Path()) or 0)"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "DVC_NO_ANALYTICS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            deadline = time.monotonic() + 60
            while not (folder / "pid").exists():
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < deadline, "the stage did not start"
                threading.Event().wait(0.05)
            yield process, psutil.Process(int((folder / "pid").read_text()))
        finally:
            if process.poll() is None:
                for left in [*psutil.Process(process.pid).children(recursive=True), process]:
                    left.kill()


def is_gone(stage: psutil.Process) -> bool:
    """Whether the stage ends within some seconds."""
    deadline = time.monotonic() + 10
    while stage.is_running() and stage.status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            stage.kill()
            return False
        threading.Event().wait(0.05)
    return True


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_no_stage_survives_the_end_of_a_build(busy, how):
    """A terminal or a supervisor ends the command alone; what it started ends with it."""
    with building(busy) as (process, stage):
        process.send_signal(how)
        _, said = process.communicate(timeout=30)
        assert is_gone(stage)
    assert process.returncode == 130
    assert said == "interrupted; run the same command again to continue.\n"


def test_a_build_that_hangs_is_ended_with_its_stage(busy):
    """After the longest time a build may take, and the sentence says so."""
    with building(busy, code="repro.BUILD_S = 4.0; ") as (process, stage):
        _, said = process.communicate(timeout=60)
        assert is_gone(stage)
    assert process.returncode == 1
    assert "it took over 4 s and was ended" in said
