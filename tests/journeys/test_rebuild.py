"""`dvc repro` rebuilds exactly what changed: seen on a copy of the repository that shares DVC's cache."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipelines.building.repro import repro
from tests.checkout import copy_checkout
from tests.journeys.conftest import ROOT, World

pytestmark = pytest.mark.lengthy

DVC = str(Path(sys.executable).parent / "dvc")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of this checkout, committed or not, built once."""
    repro(None, ROOT)
    root = tmp_path_factory.mktemp("copy")
    copy_checkout(root)
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    (root / ".dvc" / "config.local").write_text(f"[cache]\n    dir = {ROOT / '.dvc' / 'cache'}\n")
    repro(None, root)
    return root


def ran(world: World, root: Path) -> tuple[set[str], set[str]]:
    """The stages that a `dvc repro` rebuilt, and those that it skipped.

    What an earlier run of these tests built, DVC takes from its cache: that is rebuilt, too.
    """
    world.variables["PATH"] = f"{Path(DVC).parent}:{world.variables['PATH']}"
    code, printed = world.run(DVC, "repro", cwd=root)
    assert code == 0, printed
    return (
        set(re.findall(r"(?:Running stage|Stage) '([^']+)'(?: is cached|:$)", printed, re.MULTILINE)),
        set(re.findall(r"Stage '([^']+)' didn't change", printed)),
    )


def change(path: Path, model: str, *keys: str, value: object) -> None:
    """Set one value of a YAML file."""
    content = yaml.safe_load(path.read_text())
    place = content[model]
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def test_a_second_repro_does_nothing(world: World, copy: Path) -> None:
    """All eighteen stages are skipped where nothing changed."""
    run, skipped = ran(world, copy)
    assert run == set()
    assert len(skipped) == 18


def test_one_parameter_rebuilds_what_depends_on_it_and_nothing_of_the_other_model(
    world: World, copy: Path
) -> None:
    """A new penalty trains iris and all that follows; its data and all of flights stay."""
    change(copy / "params.yaml", "iris", "train", "C", value=0.9)
    run, _ = ran(world, copy)
    after = ("train", "evaluate", "probe", "gate", "report", "package")
    assert run == {f"{stage}@iris" for stage in after}


def test_a_threshold_rebuilds_the_verdicts_only(world: World, copy: Path) -> None:
    """A threshold is read by `gate` and travels in the bundle."""
    change(copy / "policy.yaml", "iris", "gates", "G04", "over_simple", value=0.11)
    run, _ = ran(world, copy)
    assert run == {"gate@iris", "report@iris", "package@iris"}


@pytest.mark.slow
def test_a_rule_of_one_model_rebuilds_only_that_model(world: World, copy: Path) -> None:
    """The model's folder is a dependency of its own stages alone."""
    path = copy / "training" / "models" / "iris" / "__init__.py"
    path.write_text(path.read_text().replace("One question about one length.", "A single question."))
    run, _ = ran(world, copy)
    assert run
    assert {stage.partition("@")[2] for stage in run} == {"iris"}
