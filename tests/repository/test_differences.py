"""`dvc metrics diff` and `dvc plots diff` say what a changed parameter did, between two commits (C11)."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TOOLS = Path(sys.executable).parent


def run(root: Path, *words: str) -> str:
    """What a command of git or DVC prints."""
    done = subprocess.run(
        words,
        cwd=root,
        env={**os.environ, "PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def commit(root: Path, message: str) -> None:
    """Everything that is there, by somebody."""
    run(root, "git", "add", "--all")
    who = ("-c", "user.name=a test", "-c", "user.email=test@example.org")
    run(root, "git", *who, "commit", "--quiet", "--no-verify", "--message", message)


@pytest.fixture(scope="module")
def two_commits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with iris alone, built and committed with two penalties, and a cache of its own."""
    root = tmp_path_factory.mktemp("differences") / "repository"
    root.mkdir()
    for name in ("contract", "training", "pipelines"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("params.yaml", "policy.yaml", "uv.lock", ".gitignore", ".dvcignore"):
        shutil.copy(ROOT / name, root / name)
    (root / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        shutil.copy(ROOT / ".dvc" / name, root / ".dvc" / name)
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    for stage in pipeline["stages"].values():
        stage["foreach"] = ["iris"]
    (root / "dvc.yaml").write_text(yaml.safe_dump(pipeline, sort_keys=False))
    run(root, "git", "init", "--quiet")
    run(root, "dvc", "repro", "--quiet")
    commit(root, "the first penalty")
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["iris"]["train"]["C"] = 0.001  # so weak that most flowers get the same answer
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    run(root, "dvc", "repro", "--quiet")
    commit(root, "the second penalty")
    return root


def test_the_difference_of_the_metrics_is_that_of_the_two_runs(two_commits: Path) -> None:
    """Old, new and difference of each metric, and of what each group adds."""
    found = json.loads(run(two_commits, "dvc", "metrics", "diff", "HEAD~1", "--json"))
    now = json.loads((two_commits / "artifacts/iris/metrics.json").read_bytes())
    accuracy = found["artifacts/iris/metrics.json"]["accuracy"]
    assert accuracy["new"] == now["accuracy"]
    assert accuracy["diff"] == pytest.approx(accuracy["new"] - accuracy["old"])
    assert accuracy["diff"] < -0.1
    assert "full" in found["artifacts/iris/ablation.json"]
    assert "groups.petal.gain" in found["artifacts/iris/ablation.json"]


def test_equal_commits_do_not_differ(two_commits: Path) -> None:
    """The check of the check."""
    assert json.loads(run(two_commits, "dvc", "metrics", "diff", "HEAD", "--json")) == {}


def test_the_plots_of_both_commits_are_drawn_on_one_page(two_commits: Path) -> None:
    """Data of both revisions in one plot, and our own pictures of both side by side."""
    target = two_commits / "plots"
    run(two_commits, "dvc", "plots", "diff", "HEAD~1", "--out", str(target))
    page = (target / "index.html").read_text()
    for name in ("roc", "precision_recall", "feature_groups", "comparison", "slices"):
        assert f'id = "artifacts_iris_report_{name}_json"' in page, name
    assert '"rev": "HEAD~1"' in page
    assert '"rev": "workspace"' in page
    pictures = {path.name for path in (target / "static").iterdir()}
    for name in ("roc", "gates", "feature_groups"):
        assert {old for old in pictures if old.startswith("HEAD~1") and f"{name}.png" in old}, pictures
        assert {new for new in pictures if new.startswith("workspace") and f"{name}.png" in new}, pictures
