"""A repository of its own with one commit, the small model built in it, and a real MLflow."""

import contextlib
import dataclasses
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from contract.bundle import open_bundle
from pipelines.building.repro import repro
from pipelines.delivery.registry import Registry, connect
from pipelines.machine.settings import Settings
from pipelines.qualify import qualify
from pipelines.register import Registered, register
from tests.checkout import copy_checkout
from tests.pipelines.delivery.conftest import quiet, running_mlflow

MODEL = "iris"


def git(folder: Path, *words: str) -> str:
    """Run git in `folder` as somebody."""
    who = ["-c", "user.name=tester", "-c", "user.email=tester@example.org"]
    done = subprocess.run(["git", "-C", folder, *who, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@dataclass(frozen=True)
class Forge:
    """A checkout in which the model is built and from which it is registered."""

    checkout: Path
    settings: Settings

    @property
    def registry(self) -> Registry:
        """An open connection."""
        return connect(self.settings)

    def build(self) -> None:
        """Build what changed, as `make train` does."""
        repro(MODEL, self.checkout, quiet)

    def register(self) -> Registered:
        """Track, qualify and register what is built, with the real commands' functions."""
        artifacts = self.checkout / "artifacts"
        with contextlib.chdir(self.checkout):
            assert qualify(MODEL, self.settings, artifacts, quiet).outcome == "accepted"
            return register(MODEL, self.settings, artifacts, quiet)

    def digest(self) -> str:
        """The digest of what is built now."""
        return open_bundle(self.checkout / "artifacts" / MODEL / "bundle").digest

    def replace_lineage(self, run_id: str, name: str, text: str, folder: Path) -> None:
        """Overwrite one lineage file of a run in MLflow, as somebody with access to the store could."""
        (folder / name).write_text(text)
        self.registry.client.log_artifact(run_id, str(folder / name), "lineage")


@pytest.fixture(scope="session")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """An MLflow server of its own; no service."""
    with running_mlflow(tmp_path_factory.mktemp("forge") / "var") as settings:
        yield settings


@pytest.fixture(scope="session")
def forge(mlflow: Settings, tmp_path_factory: pytest.TempPathFactory) -> Forge:
    """The files of this checkout, committed or not, as one commit of a new repository; iris is built."""
    checkout = tmp_path_factory.mktemp("repository")
    copy_checkout(checkout)
    git(checkout, "init", "--quiet")
    git(checkout, "add", ".")
    git(checkout, "commit", "--quiet", "-m", "first")
    made = Forge(checkout, dataclasses.replace(mlflow, checkout=checkout))
    made.build()
    return made
