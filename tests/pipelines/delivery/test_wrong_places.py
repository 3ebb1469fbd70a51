"""Damaged releases, one port for two programs, a service that is up and cannot answer."""

import dataclasses
import subprocess
from pathlib import Path

import pytest

from contract.errors import BundleError, FlightlineError
from pipelines.delivery.releases import open_release
from pipelines.delivery.services import prepare, program, what_is_lacking
from pipelines.machine.processes import start_all
from pipelines.machine.settings import Settings
from pipelines.track import lineage, require_bundle
from serving.models.desired import Desired, DesiredModel, write_desired
from tests.pipelines.delivery.conftest import settings_in, trained

pytestmark = pytest.mark.unit


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a place where nothing runs."""
    return settings_in(tmp_path / "var")


def test_a_damaged_release_says_how_it_is_replaced(settings: Settings, tmp_path: Path) -> None:
    """The remedy names the folder to remove and the command that fetches it anew."""
    bundle = trained(tmp_path / "artifacts")
    kept = settings.releases / bundle.digest
    kept.mkdir(parents=True)
    (tmp_path / "artifacts" / "toy" / "bundle").rename(kept / "bundle")
    (kept / "bundle" / "model.onnx").write_bytes(b"damaged")
    with pytest.raises(BundleError, match=rf"Remove {kept}, then `make staging`"):
        open_release(kept, "toy", bundle.digest, settings)


def test_a_damaged_build_says_how_it_is_built_again(tmp_path: Path) -> None:
    """A bundle in artifacts comes from a build, not from a registry."""
    trained(tmp_path)
    (tmp_path / "toy" / "bundle" / "model.onnx").write_bytes(b"damaged")
    with pytest.raises(BundleError, match="make train MODEL=toy"):
        require_bundle("toy", tmp_path)


def test_two_programs_of_one_port_are_refused_before_either_starts(settings: Settings) -> None:
    """A test of staging would otherwise reach production."""
    staging = program("staging", settings)
    other = dataclasses.replace(program("production", settings), port=staging.port)
    with pytest.raises(FlightlineError, match="FLIGHTLINE_STAGING_PORT or FLIGHTLINE_PRODUCTION_PORT"):
        start_all([staging, other], settings.processes, settings.logs)
    assert not settings.processes.exists()


def test_a_service_without_a_model_says_so(settings: Settings) -> None:
    """Nothing desired is no fault, and no readiness either."""
    prepare("staging", settings)
    assert what_is_lacking("staging", settings) == "no model is deployed yet"


def test_a_service_that_cannot_answer_is_not_passed_over(settings: Settings) -> None:
    """With a model desired and nobody answering, the lack has words."""
    prepare("staging", settings)
    wanted = DesiredModel.of("1", str(settings.releases / "x"), "d" * 64)
    write_desired(settings.state("staging"), Desired(generation=2, default="toy", models={"toy": wanted}))
    assert what_is_lacking("staging", settings, wait_s=0).startswith("not ready: it does not answer")


@pytest.mark.parametrize(
    ("name", "worktree", "dirty"),
    [
        ("dvc.lock", False, False),
        ("params.yaml", False, True),
        ("params.yaml", True, False),
        ("code.py", True, True),
    ],
)
def test_only_what_a_person_changed_makes_a_build_dirty(
    tmp_path: Path, name: str, worktree: bool, dirty: bool
) -> None:
    """DVC writes its lock, and a run in a worktree its own parameters; neither is somebody's edit."""
    root = tmp_path / "checkout"
    root.mkdir()

    def git(*words: str) -> None:
        who = ["-c", "user.name=tester", "-c", "user.email=tester@example.org"]
        subprocess.run(["git", "-C", str(root), *who, *words], check=True, capture_output=True)

    git("init")
    for file in ("dvc.lock", "params.yaml", "code.py"):
        (root / file).write_text("before")
    git("add", ".")
    git("commit", "-m", "first")
    place = root
    if worktree:
        place = tmp_path / "run"
        git("worktree", "add", "--detach", str(place))
    (place / name).write_text("after")
    assert lineage(place).dirty is dirty
