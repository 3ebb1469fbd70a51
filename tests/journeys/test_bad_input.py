"""What a person gets wrong or finds broken: one sentence, a non-zero exit, nothing half done."""

import shutil
import sys
from pathlib import Path

import pytest

from tests.journeys.conftest import ROOT, World

STEPS = ("ingest", "validate", "split", "train", "evaluate", "probe", "gate", "package")


def ask(world: World, *words: str, cwd: Path = ROOT) -> tuple[int, str]:
    """Run `python -m pipelines.WORDS`, importing this repository's code also from another folder."""
    world.variables["PYTHONPATH"] = str(ROOT)
    return world.run(sys.executable, "-m", f"pipelines.{words[0]}", *words[1:], cwd=cwd, seconds=120)


def is_one_sentence(code: int, printed: str, *expected: str) -> None:
    """Assert a refusal that a person can act on."""
    assert code not in {0, 10}, printed
    assert "Traceback" not in printed, printed
    errors = [line for line in printed.splitlines() if line.startswith("error:")]
    assert len(errors) == 1, printed
    for word in expected:
        assert word in errors[0], printed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with the settings and nothing built."""
    place = tmp_path / "work"
    place.mkdir()
    for name in ("params.yaml", "policy.yaml"):
        shutil.copy(ROOT / name, place / name)
    return place


@pytest.mark.parametrize("step", [*STEPS, "build", "qualify", "monitor", "retrain"])
def test_an_unknown_model_is_named_with_the_near_miss(world: World, step: str) -> None:
    """Every command that takes a model knows which there are."""
    is_one_sentence(*ask(world, step, "flihgts"), "flihgts", "did you mean 'flights'", "iris")


@pytest.mark.parametrize("step", STEPS[1:])
def test_a_missing_output_of_an_earlier_stage_says_what_to_run(world: World, folder: Path, step: str) -> None:
    """A stage without its input names the file and the command that makes it."""
    is_one_sentence(*ask(world, step, "iris", cwd=folder), "is missing", "make repro")


@pytest.mark.parametrize(
    ("name", "broken", "expected"),
    [
        ("params.yaml", "flights: [", ("params.yaml is not YAML", "line")),
        ("params.yaml", "- 1\n", ("params.yaml holds a list",)),
        ("params.yaml", "flights: {}\n", ("no section 'iris'",)),
        ("policy.yaml", "iris: {gaets: {}}\n", ("unknown key 'gaets'", "did you mean 'gates'")),
    ],
)
def test_corrupt_settings_are_refused_before_anything_is_built(
    world: World, folder: Path, name: str, broken: str, expected: tuple[str, ...]
) -> None:
    """The sentence names the file and the place, and no artifact appears."""
    (folder / name).write_text(broken)
    is_one_sentence(*ask(world, "build", "iris", cwd=folder), *expected)
    assert not (folder / "artifacts").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("track", "iris"),
        ("register", "iris"),
        ("deploy", "staging", "iris"),
        ("promote", "iris"),
        ("reconcile", "--once"),
    ],
)
def test_without_mlflow_a_command_says_so_and_leaves_nothing(world: World, words: tuple[str, ...]) -> None:
    """No version, no ledger line and no release come of a command that cannot reach the registry."""
    code, printed = ask(world, "build", "iris")
    assert code == 0, printed
    code, printed = ask(world, "qualify", "iris")
    assert code == 0, printed
    is_one_sentence(*ask(world, *words), "MLflow does not answer", "make up")
    assert not (world.var / "ledger.jsonl").exists()
    assert not list((world.var / "releases").glob("*/bundle"))
