"""`dvc metrics diff` and `dvc plots diff` tell what a changed parameter changed between commits (C11)."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.building.repro import repro
from tests.checkout import copy_checkout
from tests.journeys.conftest import ROOT

DVC = str(Path(sys.executable).parent / "dvc")
GIT = ("git", "-c", "user.name=t", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@dataclass(frozen=True)
class Copy:
    """A repository with two commits that differ in iris's penalty alone."""

    root: Path

    def say(self, *command: str) -> str:
        """What a command prints; it must succeed."""
        variables = {**os.environ, "PATH": f"{Path(DVC).parent}:{os.environ['PATH']}"}
        done = subprocess.run(
            command, cwd=self.root, env=variables, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def diff(self, kind: str, *more: str) -> object:
        """`dvc KIND diff` of the last two commits as JSON."""
        return json.loads(self.say(DVC, kind, "diff", "HEAD~1", "HEAD", "--json", *more))


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """A build and a commit, a change of one parameter, a build and a commit."""
    found = Copy(tmp_path_factory.mktemp("copy"))
    copy_checkout(found.root)
    (found.root / ".dvc" / "config.local").write_text(f"[cache]\n    dir = {ROOT / '.dvc' / 'cache'}\n")
    found.say("git", "init", "--quiet")
    path = found.root / "params.yaml"
    for old, new in (("", ""), ("    C: 1.0\n", "    C: 0.02\n")):
        assert old in path.read_text("utf-8")
        path.write_text(path.read_text("utf-8").replace(old, new), "utf-8")
        repro("iris", found.root)
        found.say(*GIT, "add", "--all")
        found.say(*GIT, "commit", "--quiet", "--message", f"C {new.strip() or 'as it was'}")
    return found


def test_the_metrics_of_two_commits_are_compared(copy: Copy) -> None:
    """So weak a penalty errs on more flowers; the difference is that of the two values."""
    found = copy.diff("metrics", "--targets", "artifacts/iris/metrics.json")
    assert isinstance(found, dict)
    change = found["artifacts/iris/metrics.json"]["accuracy"]
    assert change["new"] < change["old"]
    assert change["diff"] == pytest.approx(change["new"] - change["old"])


def test_the_parameter_is_the_only_one_that_differs(copy: Copy) -> None:
    """What a reader asks next: what was changed?"""
    assert copy.diff("params") == {"params.yaml": {"iris.train.C": {"old": 1.0, "new": 0.02, "diff": -0.98}}}


@pytest.mark.parametrize("name", ["roc", "slices"])
def test_the_plots_of_two_commits_are_compared(copy: Copy, name: str) -> None:
    """Both commits' points are in one plot, and they are not the same."""
    target = f"artifacts/iris/report/{name}.json"
    found = copy.diff("plots", "--split", "--targets", target)
    assert isinstance(found, dict)
    ((plot,),) = [plots for path, plots in found["data"].items() if path.endswith(target)]
    assert sorted(plot["revisions"]) == ["HEAD", "HEAD~1"]
    text = plot["anchor_definitions"]["<DVC_METRIC_DATA>"]
    points = json.loads(text) if isinstance(text, str) else text
    of = {
        revision: [
            {key: value for key, value in point.items() if key not in {"rev", "filename", "field"}}
            for point in points
            if point["rev"] == revision
        ]
        for revision in ("HEAD", "HEAD~1")
    }
    assert of["HEAD"]
    assert of["HEAD~1"]
    assert of["HEAD"] != of["HEAD~1"]


def test_the_page_of_the_plots_holds_the_pictures_of_both(copy: Copy) -> None:
    """Our own pictures need no network."""
    copy.say(
        DVC, "plots", "diff", "HEAD~1", "HEAD", "--out", "plots", "--targets", "artifacts/iris/report/roc.png"
    )
    pictures = [path.read_bytes() for path in (copy.root / "plots").rglob("*.png")]
    assert len(pictures) == 2
    assert pictures[0] != pictures[1]
    assert (copy.root / "plots" / "index.html").is_file()
