"""A registered version is built again from its lineage, in a real repository and a real MLflow (C11)."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from contract.errors import FlightlineError
from pipelines import reproduce
from pipelines.delivery.registry import CHALLENGER
from pipelines.delivery.tracking_server import NoAnswerError
from pipelines.machine.settings import Settings
from pipelines.register import Registered
from pipelines.reproducing import origin
from tests.pipelines.delivery.conftest import quiet, settings_in
from tests.pipelines.reproducing.conftest import MODEL, Forge, git

# Each builds a version again in a repository of its own.
pytestmark = [pytest.mark.slow, pytest.mark.lengthy]


@pytest.fixture(scope="session")
def registered(forge: Forge) -> Registered:
    """The first version, from a clean commit."""
    return forge.register()


@pytest.fixture
def say(forge: Forge) -> Callable[[str], list[str]]:
    """Reproduce a version and keep the lines it says."""

    def call(version: str) -> list[str]:
        lines: list[str] = []
        call.found = reproduce.reproduce(f"{MODEL}@{version}", forge.settings, lines.append)
        return lines

    return call


@pytest.fixture
def command(
    forge: Forge, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """The command itself in the forge's world: exit code and what it printed."""
    monkeypatch.setattr(Settings, "from_environment", classmethod(lambda *_: forge.settings))

    def call(*words: str) -> tuple[int, str]:
        code = reproduce.main(list(words))
        return code, capsys.readouterr().out

    return call


def test_a_version_is_built_again_byte_for_byte(command, forge, registered):
    """Graph, metrics and digest are the same; every stage ran; the worktree is gone; exit code 0."""
    code, said = command(f"{MODEL}@{registered.version}")
    assert code == 0, said
    assert f"{MODEL} version {registered.version}" in said
    for line in ("ONNX bytes           same", "metrics              same", "bundle digest        same"):
        assert line in said
    for stage in yaml.safe_load((forge.checkout / "dvc.yaml").read_text("utf-8"))["stages"]:
        assert f"  {stage} {MODEL}: " in said
    assert "reused" not in said
    # One that differs stays to be looked at: another test may have left it.
    assert f"{MODEL}-{registered.version}" not in git(forge.checkout, "worktree", "list")
    assert not (forge.settings.var / "reproductions" / f"{MODEL}-{registered.version}").exists()


def test_an_alias_names_a_version_and_a_program_can_read_the_answer(command, forge, registered):
    """`iris@challenger --json` prints one JSON document and nothing else."""
    forge.registry.set_alias(MODEL, CHALLENGER, registered.version)  # a later version may have taken it
    code, said = command(f"{MODEL}@{CHALLENGER}", "--json")
    answer = json.loads(said)
    assert code == 0
    assert answer["same"] is True
    assert answer["version"] == registered.version
    assert answer["digest"] == [registered.digest, registered.digest]


def test_nothing_comes_from_the_cache_of_dvc(say, forge, registered):
    """Every cached output is gone, and the version is built all the same."""
    shutil.rmtree(forge.checkout / ".dvc" / "cache")
    say(registered.version)
    assert say.found.same
    assert not (forge.checkout / ".dvc" / "cache").exists()


def test_another_seed_in_the_lineage_is_different(command, forge, registered, tmp_path):
    """Its seed decides which rows train: other bytes, other metrics, exit code 1, and the cause by name."""
    kept = forge.checkout / "params.yaml"
    changed = yaml.safe_load(kept.read_text())
    changed[MODEL]["split"]["seed"] = 8
    forge.replace_lineage(registered.run_id, "params.yaml", yaml.safe_dump(changed), tmp_path)
    try:
        code, said = command(f"{MODEL}@{registered.version}")
    finally:
        forge.replace_lineage(registered.run_id, "params.yaml", kept.read_text(), tmp_path)
    assert code == 1
    assert "ONNX bytes           DIFFERENT" in said
    assert "metrics              DIFFERENT" in said
    assert "model.onnx: another file" in said
    assert "params.yaml of the lineage has sha256" in said
    assert "took iris.split of params.yaml as" in said
    folder = Path(said.rpartition("the rebuild is in ")[2].strip())
    assert (folder / "artifacts" / MODEL / "bundle" / "model.onnx").is_file()


def test_a_lineage_that_was_damaged_is_a_sentence(forge, registered, tmp_path):
    """Bytes that are no parameters: nothing is built."""
    try:
        forge.replace_lineage(registered.run_id, "params.yaml", "}{", tmp_path)
        with pytest.raises(FlightlineError, match=r"params\.yaml of the lineage has no section 'iris'"):
            reproduce.reproduce(f"{MODEL}@{registered.version}", forge.settings, quiet)
    finally:
        text = (forge.checkout / "params.yaml").read_text()
        forge.replace_lineage(registered.run_id, "params.yaml", text, tmp_path)


def test_another_lock_than_the_signed_one_is_said(say, forge, registered, tmp_path):
    """dvc.lock decides nothing in a rebuild, so it is a warning, and the version is the same."""
    text = (forge.checkout / "dvc.lock").read_text()
    try:
        forge.replace_lineage(registered.run_id, "dvc.lock", text + "\n", tmp_path)
        lines = say(registered.version)
    finally:
        forge.replace_lineage(registered.run_id, "dvc.lock", text, tmp_path)
    assert any("warning: dvc.lock of the lineage" in line for line in lines)
    assert say.found.same


@pytest.mark.usefixtures("registered")
def test_code_that_was_never_committed_cannot_be_built_again(say, forge):
    """A version from a dirty tree: the rebuild takes the commit, differs, and says that first (and why)."""
    source = forge.checkout / "training" / "models" / "iris" / "__init__.py"
    text = source.read_text()
    try:
        source.write_text(text.replace("4.3, 7.9", "4.2, 7.9"))
        assert source.read_text() != text
        forge.build()
        version = forge.register().version
    finally:
        source.write_text(text)
        forge.build()
    lines = say(version)
    assert any("changes that were not committed" in line for line in lines)
    assert not say.found.same
    assert "not committed" in say.found.reasons[0]
    assert any("read another training/models/iris" in reason for reason in say.found.reasons)


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("iris", "'iris' names no version"),
        ("iris@", "'iris@' names no version"),
        ("iris@99", "iris has no version 99"),
        ("iris@nobody", "no version of iris has the alias 'nobody'"),
        ("tulips@1", "tulips has no version 1"),
    ],
)
def test_a_version_that_there_is_not_is_a_sentence(forge, name, sentence):
    """Found, expected, remedy."""
    with pytest.raises(FlightlineError, match=sentence):
        reproduce.reproduce(name, forge.settings, quiet)


def test_a_commit_that_is_not_in_the_clone_is_a_sentence(forge, registered, monkeypatch):
    """A shallow clone, or another person's branch."""

    def absent(*_: object) -> str:
        raise FlightlineError("git cat-file failed", "a commit", "x")

    monkeypatch.setattr(origin, "git", absent)
    with pytest.raises(FlightlineError, match=r"from commit [0-9a-f]{12}, which is not in this clone"):
        reproduce.reproduce(f"{MODEL}@{registered.version}", forge.settings, quiet)


def test_without_mlflow_there_is_one_sentence(tmp_path):
    """Within seconds."""
    with pytest.raises(NoAnswerError, match="MLflow does not answer"):
        reproduce.reproduce("iris@1", settings_in(tmp_path / "var"), quiet)
