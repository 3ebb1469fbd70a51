"""Others' checkers accept the workflows: zizmor, and the schemas of GitHub."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.repository.workflows import FOLDER, ROOT

BIN = ROOT / ".venv/bin"


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run zizmor, offline, at its strictest useful level."""
    command = [BIN / "zizmor", "--offline", "--persona=pedantic", "--no-progress", folder / ".github"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def schema(path: Path, name: str) -> subprocess.CompletedProcess[str]:
    """Check one file against a schema that ships with check-jsonschema."""
    command = [BIN / "check-jsonschema", "--builtin-schema", f"vendor.{name}", path]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_zizmor_has_no_finding(tmp_path):
    """The whole folder at once; a template in a shell line is found."""
    found = lint(ROOT)
    assert found.returncode == 0, found.stdout
    shutil.copytree(ROOT / ".github", tmp_path / ".github")
    path = tmp_path / FOLDER / "ci.yml"
    path.write_text(path.read_text().replace("run: make check", "run: echo ${{ github.head_ref }}"))
    found = lint(tmp_path)
    assert found.returncode != 0
    assert "template-injection" in found.stdout


@pytest.mark.parametrize(
    ("path", "name"),
    [
        *[(path.relative_to(ROOT), "github-workflows") for path in sorted((ROOT / FOLDER).glob("*.yml"))],
        (Path(".github/actions/setup/action.yml"), "github-actions"),
        (Path(".github/dependabot.yml"), "dependabot"),
    ],
    ids=str,
)
def test_the_schema_holds(path, name):
    """GitHub accepts the file."""
    found = schema(ROOT / path, name)
    assert found.returncode == 0, found.stdout


def test_a_misspelt_key_breaks_the_schema(tmp_path):
    """`run-on` would make GitHub refuse the whole file."""
    path = tmp_path / "ci.yml"
    path.write_text((ROOT / FOLDER / "ci.yml").read_text().replace("runs-on", "run-on"))
    assert schema(path, "github-workflows").returncode != 0
