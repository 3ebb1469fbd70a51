"""A healthy sample, built once, and a copy of it for each test to break."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from contract.bundle import Bundle
from pipelines.building.repro import repro
from pipelines.ingest import ingest
from pipelines.machine.settings import Settings
from pipelines.probe import probe
from pipelines.train import train
from tests.gates.workshop import MODEL, ROOT, SAMPLE, Workshop, write_settings
from training.models import flights

EVERY = 5  # the weak model learns from one row in so many: worse, but not bad enough for another gate


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the real stages on ten weeks of flights."""
    folder = tmp_path_factory.mktemp("sample")
    write_settings(folder, SAMPLE)
    Workshop(folder, Settings.from_environment({"FLIGHTLINE_VAR": str(folder / "var")})).rebuild(
        ingest, probes=(probe,)
    )
    return folder


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on everything: what DVC builds for this checkout, under the repository's own policy."""
    repro(MODEL, ROOT)
    folder = tmp_path_factory.mktemp("full")
    shutil.copytree(ROOT / "artifacts" / MODEL, folder / "artifacts" / MODEL)
    for name in ("params.yaml", "policy.yaml"):
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture
def size(request: pytest.FixtureRequest) -> Path:
    """The healthy run to break: the sample, or the one that `at_full_size` asks for."""
    found: Path = request.getfixturevalue(getattr(request, "param", "sample"))
    return found


@pytest.fixture(scope="session")
def weak(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The bundle of a model of the same rows that learned from few of them."""
    folder = tmp_path_factory.mktemp("weak") / "run"
    shutil.copytree(sample, folder)
    built = Workshop(folder, Settings.from_environment({"FLIGHTLINE_VAR": str(folder / "var")}))
    built.replace_part("train", built.part("train").gather_every(EVERY))
    built.rebuild(train)
    return built.bundle


@pytest.fixture
def uncrowned(size: Path, tmp_path: Path, free_port: int, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    """A copy of the run in a world where nothing was ever live, and whose MLflow was never started."""
    folder = tmp_path / "run"
    shutil.copytree(size, folder)
    variables = {
        "FLIGHTLINE_VAR": str(tmp_path / "var"),
        "FLIGHTLINE_MLFLOW_PORT": str(free_port),
    }
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return Workshop(folder, Settings.from_environment(variables))


@pytest.fixture
def workshop(uncrowned: Workshop) -> Workshop:
    """A copy of the run in a world where the unbroken run is the champion."""
    uncrowned.crown(uncrowned.bundle)
    return uncrowned


@pytest.fixture
def patch_model(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Declare the model otherwise: `patch_model(fit=…)` replaces attributes of its declaration."""

    def patch(**changes: object) -> None:
        monkeypatch.setattr(flights, "MODEL", dataclasses.replace(flights.MODEL, **changes))

    return patch


@pytest.fixture
def uncrowned_settings(tmp_path: Path) -> Settings:
    """Settings whose effects go to a folder of the test, in which nothing ever happened."""
    return Settings.from_environment({"FLIGHTLINE_VAR": str(tmp_path / "var")})
