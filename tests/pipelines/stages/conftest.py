"""The cached stages of the small model, run in a folder of their own."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
STAGES = (
    "ingest",
    "validate",
    "split",
    "train",
    "evaluate",
    "probe",
    "gate",
    "report",
    "package",
)


def settings_into(folder: Path) -> Path:
    """`folder` with the shipped params.yaml and policy.yaml."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("params.yaml", "policy.yaml"):
        shutil.copyfile(ROOT / name, folder / name)
    return folder


def run_stages(folder: Path, *stages: str, model: str = "iris") -> None:
    """Run the stages in order inside `folder`, as DVC does, but in this process."""
    with contextlib.chdir(folder):
        for stage in stages:
            assert import_module(f"pipelines.{stage}").main([model]) == 0


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A folder with the settings and no artifact, which is the current one."""
    monkeypatch.chdir(settings_into(tmp_path))
    return tmp_path


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """A folder in which every stage has run. Read only."""
    folder = settings_into(tmp_path_factory.mktemp("finished"))
    run_stages(folder, *STAGES)
    return folder


@pytest.fixture
def finished_copy(finished, tmp_path, monkeypatch) -> Path:
    """A copy of the finished run that a test may damage; it is the current folder."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `python -m pipelines.STAGE …` in a folder, as a person or DVC would."""

    def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", f"pipelines.{words[0]}", *words[1:]],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run
