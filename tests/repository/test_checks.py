"""What pre-commit and the shell checks run, and that they bite."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
BIN = ROOT / ".venv/bin"


def hooks(root: Path) -> list[dict]:
    """Every hook of the configuration, with the repository it comes from."""
    repositories = yaml.safe_load((root / ".pre-commit-config.yaml").read_text())["repos"]
    return [
        {**hook, "repo": repository["repo"]} for repository in repositories for hook in repository["hooks"]
    ]


@pytest.mark.unit
def test_no_hook_is_fetched():
    """Each is local, a program of the locked environment, started through uv without changing the lock."""
    for hook in hooks(ROOT):
        assert (hook["repo"], hook["language"]) == ("local", "system"), hook["id"]
        assert hook["entry"].startswith(("uv run --frozen ", "uv lock --check")), hook["id"]


@pytest.mark.unit
def test_every_tool_of_a_hook_is_locked():
    """`uv run ruff` would otherwise find one that happens to be on the machine."""
    for hook in hooks(ROOT):
        words = hook["entry"].split()
        if words[1] == "run":
            assert (BIN / words[3]).exists(), words[3]


@pytest.mark.unit
def test_the_vocabulary_is_the_same_list():
    """`make check` runs the hooks, and the job `checks` of CI runs `make check`."""
    assert "pre-commit run --all-files" in (ROOT / "Makefile").read_text()
    assert "run: make check\n" in (ROOT / ".github/workflows/ci.yml").read_text()


def test_shell_scripts_are_sound(tmp_path):
    """No finding in `.ci/run`; an unquoted variable is found."""
    path = tmp_path / "run"
    for text, code in (((ROOT / ".ci/run").read_text(), 0), ("#!/bin/bash\nrm $1\n", 1)):
        path.write_text(text)
        found = subprocess.run([BIN / "shellcheck", path], capture_output=True, timeout=60, check=False)
        assert found.returncode == code, found.stdout
    assert os.access(ROOT / ".ci/run", os.X_OK)


@pytest.mark.parametrize(
    ("installed", "asked"),
    [
        ((), "chromium redis-server wrk kubernetes-client docker.io mmdebstrap"),
        (("wrk", "kubectl", "dockerd"), "chromium redis-server mmdebstrap"),
        (("chromium", "redis-server", "wrk", "kubectl", "dockerd", "mmdebstrap"), ""),
    ],
)
def test_the_runner_installs_what_is_missing_and_then_requires_it(tmp_path, installed, asked):
    """Only the missing packages; then both suites, with REQUIRE set; `sudo` only where one is not root."""
    path = tmp_path / "bin"
    path.mkdir()
    for program in ("bash", "dirname", "env"):
        (path / program).symlink_to(str(shutil.which(program)))
    for program in ("make", "apt-get", "true", *installed):
        (path / program).write_text('#!/bin/bash\necho "${0##*/} $* REQUIRE=${REQUIRE:-}"\n')
        (path / program).chmod(0o755)
    (path / "sudo").write_text('#!/bin/bash\nshift\nexec "$@"\n')
    (path / "sudo").chmod(0o755)
    command = [ROOT / ".ci/run"]
    found = subprocess.run(
        command, env={"PATH": str(path)}, capture_output=True, text=True, timeout=60, check=True
    )
    lines = found.stdout.splitlines()
    words = "browser,redis,wrk,kubectl,docker,mmdebstrap"
    assert lines[-2:] == [f"make test REQUIRE={words}", f"make test-slow REQUIRE={words}"]
    installs = [line for line in lines if line.startswith("apt-get install")]
    assert [line.endswith(f" {asked} REQUIRE=") for line in installs] == ([True] if asked else [])


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A git repository with the tracked configuration and a few files, to break."""
    root = tmp_path_factory.mktemp("clone")
    for name in (".pre-commit-config.yaml", "pyproject.toml", "uv.lock"):
        shutil.copy(ROOT / name, root)
    shutil.copytree(ROOT / ".github", root / ".github")
    for name in ("contract", "training", "serving", "monitoring", "pipelines", "benchmarks"):
        (root / name).mkdir()
        (root / name / "__init__.py").write_text('"""A package."""\n')
    git(root, "init", "--quiet")
    git(root, "add", "--all")
    return root


def git(root: Path, *words: str) -> None:
    """Run git in `root`."""
    subprocess.run(["git", "-C", root, *words], check=True, capture_output=True, timeout=60)


def run_hook(root: Path, name: str) -> subprocess.CompletedProcess[str]:
    """Run one hook over all files, with the programs of this environment."""
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("GIT_")},
        "PATH": f"{ROOT / '.uv/bin'}:{os.environ['PATH']}",
        "UV_PROJECT_ENVIRONMENT": str(ROOT / ".venv"),
        "UV_NO_SYNC": "1",
        "PRE_COMMIT_HOME": str(root / ".git/pre-commit"),
    }
    command = [BIN / "pre-commit", "run", "--all-files", "--verbose", name]
    return subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.slow
@pytest.mark.skipif(
    not (shutil.which("uv") or (ROOT / ".uv/bin/uv").exists()), reason="uv is not installed (run: make setup)"
)
@pytest.mark.parametrize(
    ("name", "file", "text"),
    [
        ("ruff-check", "contract/a.py", '"""A module."""\n\nimport os\n'),
        ("ruff-format", "contract/a.py", '"""A module."""\n\nA = { 1:2 }\n'),
        ("mypy", "contract/a.py", '"""A module."""\n\nA: int = "one"\n'),
        (
            "zizmor",
            ".github/workflows/a.yml",
            "on: push\njobs:\n  a:\n    runs-on: x\n    steps: [{run: ls}]\n",
        ),
        ("workflow-schema", ".github/workflows/a.yml", "on: push\njobs:\n  a:\n    run-on: x\n"),
        ("action-schema", ".github/actions/a/action.yml", "name: a\n"),
        ("dependabot-schema", ".github/dependabot.yml", "version: 3\n"),
        ("shellcheck", "a.sh", "#!/bin/bash\nrm $1\n"),
        ("hadolint", "infra/docker/Dockerfile", "FROM debian\n"),
        (
            "uv-lock",
            "pyproject.toml",
            '[project]\nname = "flightline"\nversion = "7"\nrequires-python = ">=3.12"\n',
        ),
    ],
)
def test_a_hook_passes_and_then_bites(clone, name, file, text):
    """Green over sound files; one broken file turns exactly this hook red."""
    path = clone / file
    before = path.read_text() if path.exists() else None
    path.parent.mkdir(parents=True, exist_ok=True)
    assert run_hook(clone, name).returncode == 0
    try:
        path.write_text(text)
        git(clone, "add", "--all")
        found = run_hook(clone, name)
        assert found.returncode == 1, found.stdout
    finally:
        if before is None:
            path.unlink()
        else:
            path.write_text(before)
        git(clone, "add", "--all")
