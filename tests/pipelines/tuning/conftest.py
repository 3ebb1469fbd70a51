"""The small model's split, in a folder of its own, and a world without MLflow."""

import shutil
from pathlib import Path

import pytest

from pipelines.machine.settings import Settings
from tests.pipelines.delivery.conftest import settings_in
from tests.pipelines.stages.conftest import run_stages, settings_into


@pytest.fixture(scope="session")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ingest, validate and split have run. Read only."""
    folder = settings_into(tmp_path_factory.mktemp("split"))
    run_stages(folder, "ingest", "validate", "split")
    return folder


@pytest.fixture
def place(split: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it that is the current folder."""
    shutil.copytree(split, tmp_path / "place")
    monkeypatch.chdir(tmp_path / "place")
    return tmp_path / "place"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A `var` of its own; nothing listens where MLflow would be."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return settings_in(tmp_path / "var")
