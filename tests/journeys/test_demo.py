"""The demonstration as its user meets it: whole, interrupted, and with something in its way."""

import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.demonstration.checks import MARK
from tests.journeys.conftest import ROOT, World, until

pytestmark = pytest.mark.lengthy

DEMO = (sys.executable, "-m", "pipelines.demo")
STEPS = (
    "build both models",
    "start MLflow, staging, production",
    "register what qualifies",
    "deploy to staging",
    "promote to production",
    "April: traffic, drift check, retraining",
    "promote the challenger",
    "break a model on purpose",
    "tamper with a bundle",
    "roll back and forward",
)


def test_the_short_demonstration_does_what_it_should_and_leaves_nothing_running(world: World) -> None:
    """Every step of the loop ends well, the table names each, and no process survives."""
    code, printed = world.run(*DEMO, "--short")
    assert code == 0, printed
    table = printed.partition("what happened")[2]
    assert [step for step in STEPS if step not in table] == []
    assert "FAILED" not in printed
    assert "/predict/label answers virginica" in printed
    assert "earned its place" in printed
    assert "one tree is no model) fails G0" in printed
    assert "declared candidate" not in printed
    assert "2 → 1 in" in table
    assert "every step did what it should" in table
    assert world.left() == []


def test_a_port_in_use_is_one_sentence_before_anything_is_built(world: World) -> None:
    """The sentence names the port and the variable that moves it; what an earlier run left stays."""
    earlier = world.var / "demo" / MARK
    earlier.parent.mkdir(parents=True)
    earlier.touch()
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = str(holder.getsockname()[1])
        world.variables["FLIGHTLINE_STAGING_PORT"] = port
        code, printed = world.run(*DEMO, "--short", seconds=60)
    assert code == 1, printed
    assert "Traceback" not in printed
    (sentence,) = [line for line in printed.splitlines() if line.startswith("error:")]
    assert port in sentence
    assert "FLIGHTLINE_STAGING_PORT" in sentence
    assert earlier.exists()
    assert world.left() == []


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("── build both models", marks=pytest.mark.slow),
        "── register what qualifies",
        pytest.param("── April: traffic", marks=pytest.mark.slow),
    ],
)
def test_interrupted_anywhere_it_stops_everything_and_says_one_sentence(world: World, moment: str) -> None:
    """Ctrl-C unwinds: no traceback, exit code 130, no process left behind."""
    process = world.start(*DEMO, "--short")
    printed: list[str] = []
    assert process.stdout is not None
    for line in process.stdout:
        printed.append(line)
        if line.startswith(moment):
            break
    world.interrupt(process)
    rest, _ = process.communicate(timeout=300)
    assert process.returncode == 130, "".join(printed) + rest
    assert "Traceback" not in rest
    assert "interrupted" in rest
    until(lambda: world.left() == [], "the end of every process", 20)


@pytest.mark.slow
def test_a_fresh_clone_needs_one_command_and_the_second_run_reuses_the_cache(
    world: World, tmp_path: Path
) -> None:
    """`make demo` installs, builds and ends well; again, it reuses all eighteen stages."""
    clone = tmp_path / "clone"
    code, printed = world.run("git", "clone", "--quiet", str(ROOT), str(clone))
    assert code == 0, printed
    code, first = world.run("make", "demo", cwd=clone, seconds=1500)
    assert code == 0, first
    assert "0 of 18 stages reused" in first
    assert "train.l2_regularization 25.8 (twice the regularization" in first
    code, second = world.run("make", "demo", cwd=clone, seconds=600)
    assert code == 0, second
    assert "18 of 18 stages reused" in second
    code, changed = world.run("git", "status", "--porcelain", cwd=clone)
    # A processor of another kind sums in another order: its models have other last digits, and other hashes.
    assert (code, changed) in {(0, ""), (0, " M dvc.lock\n")}, "the demonstration dirtied the checkout"
    code, committed = world.run("git", "show", "HEAD:dvc.lock", cwd=clone)
    assert code == 0, committed
    assert unhashed((clone / "dvc.lock").read_text()) == unhashed(committed)
    assert world.left() == []


def test_a_source_that_changed_is_no_other_processor() -> None:
    """Of artifacts alone the hash may be another one."""
    lock = (ROOT / "dvc.lock").read_text()
    entries = [dep for stage in yaml.safe_load(lock)["stages"].values() for dep in stage["deps"]]
    artifact = next(entry["md5"] for entry in entries if entry["path"].startswith("artifacts/"))
    source = next(entry["md5"] for entry in entries if entry["path"].startswith("training/"))
    assert unhashed(lock.replace(artifact, "0" * 32)) == unhashed(lock)
    assert unhashed(lock.replace(source, "0" * 32)) != unhashed(lock)


def unhashed(lock: str) -> Any:
    """What a lock file says but for what came of computing: the hashes and sizes of artifacts."""
    stages = yaml.safe_load(lock)["stages"]
    for stage in stages.values():
        for entry in [*stage.get("deps", []), *stage.get("outs", [])]:
            if entry["path"].startswith("artifacts/"):
                for key in ("md5", "size"):
                    entry.pop(key, None)
    return stages
