"""What a DVC stage declares is what its imports reach."""

import logging
import re
import shutil
from pathlib import Path

import pytest
import yaml

from contract.errors import ConfigError, FlightlineError
from pipelines import closure

ROOT = Path(__file__).parents[2]

FILES = {
    "pipelines/__init__.py": '"""Only words."""\n',
    "pipelines/train.py": "from training import load\nfrom contract.schema import Contract\nimport numpy\n",
    "pipelines/ingest.py": "import json\n",
    "contract/__init__.py": "",
    "contract/schema.py": "Contract = 1\n",
    "training/__init__.py": "import training.shared\n",
    "training/shared.py": "",
    "training/load.py": (
        "import importlib\n"
        "def load(name):\n"
        "    from . import lazy\n"
        '    return importlib.import_module(f"training.models.{name}")\n'
    ),
    "training/lazy.py": "from .deep.inner import thing\n",
    "training/deep/inner.py": "from ..up import thing\n",
    "training/up.py": "thing = 1\n",
    "training/models/one.py": "from training import features\n",
    "training/models/two.py": "",
    "training/features.py": "",
}
OF_TRAIN_ONE = [
    "contract/schema.py",
    "pipelines/train.py",
    "training/__init__.py",
    "training/deep/inner.py",
    "training/features.py",
    "training/lazy.py",
    "training/load.py",
    "training/models/one.py",
    "training/shared.py",
    "training/up.py",
]


@pytest.fixture(autouse=True)
def quiet(caplog):
    """DVC says that it has made a repository once another library has turned its logger on."""
    caplog.set_level(logging.CRITICAL, logger="dvc")


@pytest.fixture
def tree(tmp_path):
    """A small repository with two models and two stages."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def declare(tree: Path, deps: list[str], cmd: str = "python -m pipelines.train ${item}") -> None:
    """Make `tree` a DVC repository with one stage over the model `one`."""
    from dvc.repo import Repo

    Repo.init(str(tree), no_scm=True, force=True).close()
    stage = {"foreach": ["one"], "do": {"cmd": cmd, "deps": deps}}
    (tree / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"train": stage}}))


@pytest.mark.unit
def test_the_closure_follows_every_kind_of_import(tree):
    """Plain, from, relative, inside a function, a package's own code, and the model by its name."""
    assert list(closure.closure(tree, "train", "one")) == OF_TRAIN_ONE


@pytest.mark.unit
def test_another_model_brings_its_own_file_alone(tree):
    """The file of model one, and what only it imports, is no dependency of model two."""
    found = closure.closure(tree, "train", "two")
    assert "training/models/two.py" in found
    assert not {"training/models/one.py", "training/features.py"} & set(found)


@pytest.mark.unit
def test_code_in_a_package_file_makes_it_a_dependency(tree):
    """An `__init__.py` counts as soon as it does something."""
    (tree / "contract/__init__.py").write_text("VERSION = 2\n")
    assert "contract/__init__.py" in closure.closure(tree, "train", "one")


@pytest.mark.unit
def test_an_unknown_stage_is_refused(tree):
    """The sentence names the stage."""
    with pytest.raises(FlightlineError, match="no stage 'trane'"):
        closure.closure(tree, "trane", "one")


@pytest.mark.unit
def test_the_command_prints_lines_for_dvc_yaml(tree, monkeypatch, capsys):
    """They can be pasted below `deps:`."""
    monkeypatch.chdir(tree)
    assert closure.main(["ingest", "one"]) == 0
    assert capsys.readouterr().out == "- pipelines/ingest.py\n"


def test_a_stage_that_declares_its_closure_is_right(tree):
    """No difference, and data files beside the code are none of its business."""
    (tree / "raw.csv").touch()
    declare(tree, [*OF_TRAIN_ONE, "raw.csv"])
    assert closure.differences(tree) == ()


@pytest.mark.parametrize("dropped", OF_TRAIN_ONE)
def test_a_dropped_dependency_is_named(tree, dropped):
    """Whichever file a stage forgets, the check says which."""
    declare(tree, [path for path in OF_TRAIN_ONE if path != dropped])
    (difference,) = closure.differences(tree)
    assert difference.stage == "train@one"
    assert (difference.missing, difference.superfluous) == ((dropped,), ())
    assert f"add {dropped}" in str(difference)


def test_a_superfluous_dependency_is_named(tree, monkeypatch, capsys):
    """A file that the stage never imports would rebuild it for nothing; the command fails."""
    declare(tree, [*OF_TRAIN_ONE, "training/models/two.py"])
    monkeypatch.chdir(tree)
    capsys.readouterr()  # what DVC says of a new repository, where an earlier test has it talk
    assert closure.main([]) == 1
    assert capsys.readouterr().out == "dvc.yaml, deps of train@one: remove training/models/two.py\n"


def test_a_stage_that_runs_no_step_is_refused(tree):
    """A script beside the packages would escape the check."""
    declare(tree, [], cmd="python train.py")
    with pytest.raises(ConfigError, match=r"train@one .* runs 'python train.py'"):
        closure.differences(tree)


def test_every_stage_declares_exactly_what_it_imports():
    """The repository's own dvc.yaml, stage by stage and model by model."""
    assert [str(difference) for difference in closure.differences(ROOT)] == []


def test_a_dependency_dropped_from_the_real_pipeline_is_named(tmp_path):
    """In a copy of the repository, one line of dvc.yaml that names a code file goes missing."""
    from dvc.repo import Repo

    for name in ("dvc.yaml", "params.yaml", "policy.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    for package in closure.PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    lines = (tmp_path / "dvc.yaml").read_text().splitlines()
    dropped = next(line for line in lines if re.match(r" +- contract/\w+\.py$", line))
    lines.remove(dropped)
    (tmp_path / "dvc.yaml").write_text("\n".join(lines))
    Repo.init(str(tmp_path), no_scm=True).close()
    found = closure.differences(tmp_path)
    assert any(dropped.strip(" -") in difference.missing for difference in found)
