"""The vocabulary of the repository: safe with any value, and plain when something is missing."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Recipes that take a value which a workflow may have got from outside.
WITH_VALUES = (
    *("train", "register", "retrain", "challenger", "staging", "digest", "approved", "production", "monitor"),
    *("summary", "dispatch", "tune", "reproduce", "explain", "image", "score"),
)


@pytest.fixture
def make(tmp_path):
    """Call make in a folder that has the Makefile and environments that look installed, but no program."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("uv.lock", "pyproject.toml"):
        (tmp_path / name).touch()
    for name in (".venv", ".venv-serving"):
        (tmp_path / name / "bin").mkdir(parents=True)
        for program in ("python", "dvc", "pre-commit"):
            fake = tmp_path / name / "bin" / program
            fake.write_text('#!/bin/bash\nprintf "%s|" "${0##*/}" "$@"; echo\n')
            fake.chmod(0o755)
        (tmp_path / name / ".stamp").touch()

    def call(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        clean = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **environment}
        command = ["make", *words]
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, env=clean, timeout=60, check=False
        )

    return call


@pytest.mark.parametrize("target", WITH_VALUES)
def test_a_value_from_outside_is_an_argument_and_never_code(make, tmp_path, target):
    """Quotes, substitutions and make's own functions arrive unread at the program."""
    evil = "x\";touch pwned;'$(touch pwned)`touch pwned`$(shell touch pwned)"
    result = make(
        target,
        MODEL=evil,
        AS_OF=evil,
        ACTOR=evil,
        DIGEST=evil,
        ROW=evil,
        VERSION=evil,
        INPUT=evil,
        OUTPUT=evil,
    )
    assert result.returncode == 0, result.stderr
    assert "touch pwned" in result.stdout
    assert not list(tmp_path.rglob("pwned"))


def test_tables_are_scored_from_where_they_are_to_where_they_are_wanted(make):
    """As the workflow calls it: paths by variable, with blanks as they are, and words of the command."""
    words = {"INPUT": "new tables", "OUTPUT": "answers", "ARGS": "--id id --publish production"}
    called = make("score", **words)
    expected = "flights|--input|new tables|--output|answers|--id|id|--publish|production|"
    assert called.stdout.strip() == f"python|-m|pipelines.score|{expected}"


def test_answers_go_nowhere_that_nobody_named(make):
    """An empty folder's name would be the checkout."""
    refused = make("score", INPUT="tables")
    assert refused.returncode == 2
    assert "OUTPUT: is to name a folder" in refused.stderr


def test_a_row_and_a_version_have_defaults(make):
    """Some held-out row, and the champion."""
    assert make("explain").stdout.strip() == "python|-m|pipelines.explain|flights|--random|1|"
    assert make("explain", ROW="a/b c").stdout.strip() == "python|-m|pipelines.explain|flights|a/b c|"
    assert make("reproduce", MODEL="iris").stdout.strip() == "python|-m|pipelines.reproduce|iris@champion|"
    assert make("reproduce", VERSION="iris@2").stdout.strip() == "python|-m|pipelines.reproduce|iris@2|"


@pytest.mark.parametrize("target", ["retrain", "monitor"])
def test_a_date_reaches_the_command_only_when_it_is_given(make, target):
    """Without AS_OF the option is left out rather than empty."""
    assert "--as-of|2013-05-01|" in make(target, AS_OF="2013-05-01").stdout
    assert "--as-of" not in make(target).stdout


def test_a_challenger_is_built_here_or_retrained(make):
    """Delivery asks for one thing; a date makes it a run of its own, and nothing is built in the checkout."""
    built = "python|-m|pipelines.build|flights|"
    assert make("challenger").stdout.split() == [built, "python|-m|pipelines.challenger|flights|"]
    dated = make("challenger", AS_OF="2013-05-01").stdout.split()
    assert dated == ["python|-m|pipelines.challenger|flights|--as-of|2013-05-01|"]


def test_an_image_is_of_what_was_just_trained_or_of_a_version(make):
    """One flow from training to image; a version that is there needs no training."""
    built = "python|-m|pipelines.build|iris|"
    made = "python|-m|pipelines.image|iris@challenger|"
    assert make("image", MODEL="iris").stdout.split() == [built, "python|-m|pipelines.challenger|iris|", made]
    assert make("image", VERSION="iris@2").stdout.split() == ["python|-m|pipelines.image|iris@2|"]


@pytest.mark.parametrize("digest", ["", "0" * 64])
def test_an_approval_reaches_the_comparison_even_when_it_is_empty(make, digest):
    """An approval of nothing is refused there, rather than left out here."""
    assert f"|pipelines.digest|flights|--expect={digest}|" in make("approved", DIGEST=digest).stdout


def test_the_unit_tests_run_before_the_rest(make):
    """The fastest answer comes first, and slow tests are in neither half."""
    first, second = make("test").stdout.splitlines()
    assert "|unit and not slow|" in first
    assert "|not unit and not slow|" in second


@pytest.mark.parametrize(
    ("target", "last"), [("repro", "pipelines.build|"), ("train", "pipelines.build|iris|")]
)
def test_builds_go_through_one_command(make, target, last):
    """It checks the settings first and puts this environment's `python` in front of the machine's."""
    assert make(target, MODEL="iris").stdout.strip().endswith(last)


def test_a_backtest_is_of_every_model_unless_one_is_named(make):
    """The default of MODEL is for commands that need one; a value from outside arrives as an argument."""
    assert make("backtest", ARGS="--write").stdout.strip() == "python|-m|pipelines.backtest|--write|"
    assert make("backtest", "MODEL=a b").stdout.strip() == "python|-m|pipelines.backtest|--model|a b|"
    assert make("backtest", MODEL="$(shell ls)").stdout.strip().endswith("|--model|$(shell ls)|")
    assert make("bench", ARGS="--only builds").stdout.strip() == "python|-m|benchmarks|--only|builds|"


def test_a_failed_gate_fails_the_target_after_all_were_shown(make, tmp_path):
    """The table comes first, and its exit code is neither swallowed nor in the way of the run by name."""
    built, table, by_name = make("gates").stdout.splitlines()
    assert built.endswith("|pipelines.build|")
    assert table.endswith("|pipelines.gates|")
    assert "|tests/gates/test_real_run.py|" in by_name
    python = tmp_path / ".venv/bin/python"
    python.write_text('#!/bin/bash\necho "$@"\n[[ "$*" != *pipelines.gates* ]]\n')
    result = make("gates")
    assert result.returncode != 0
    assert "tests/gates/test_real_run.py" in result.stdout


@pytest.mark.parametrize("code", ["", "G1", "G001", "loss", "G01 or G02", '$(touch x)";ls'])
def test_a_gate_that_is_no_code_is_refused(make, code):
    """One sentence with an example, before anything runs."""
    result = make("gate", GATE=code)
    assert result.returncode != 0
    assert "expected a code of policy.yaml such as G03" in result.stderr
    assert "pytest" not in result.stdout


@pytest.mark.parametrize(
    ("results", "green"),
    [
        ("success success", True),
        ("success", True),
        ("success failure", False),
        ("success skipped", False),
        ("cancelled success", False),
        ("", False),
    ],
)
def test_the_last_job_of_ci_is_green_only_if_all_are(make, results, green):
    """A skipped or cancelled job is not a success, and neither is no job at all."""
    assert (make("required", RESULTS=results).returncode == 0) is green


def test_an_old_python_is_one_sentence(make, tmp_path):
    """Found, expected, remedy; no installation is begun."""
    (tmp_path / ".venv/.stamp").unlink()
    result = make("setup", PYTHON="")
    assert result.returncode != 0
    assert "error: no python3 on the PATH is 3.11 or newer" in result.stderr
    assert "installing" not in result.stdout


def test_python_that_is_too_old_is_not_chosen(make, tmp_path):
    """An interpreter that reports 3.10 is passed over, whatever its name."""
    folder = tmp_path / "old"
    folder.mkdir()
    for name in ("python3", "python3.11", "python3.12", "python3.13", "python3.14"):
        (folder / name).write_text("#!/bin/bash\nexit 1\n")
        (folder / name).chmod(0o755)
    (tmp_path / ".venv/.stamp").unlink()
    result = make("setup", PATH=f"{folder}:{os.environ['PATH']}")
    assert "error: no python3 on the PATH is 3.11 or newer" in result.stderr


def test_what_the_machine_sets_does_not_leak_in(make, tmp_path):
    """Byte code is written, telemetry is off, another active environment is ignored."""
    (tmp_path / ".venv/bin/python").write_text("#!/bin/bash\nenv\n")
    seen = make(
        "demo", PYTHONDONTWRITEBYTECODE="1", VIRTUAL_ENV="/elsewhere", UV_PROJECT_ENVIRONMENT="x"
    ).stdout
    assert not re.search(
        r"^(PYTHONDONTWRITEBYTECODE|VIRTUAL_ENV|UV_PROJECT_ENVIRONMENT)=", seen, re.MULTILINE
    )
    for line in (
        "DVC_NO_ANALYTICS=1",
        "DO_NOT_TRACK=1",
        "MLFLOW_DISABLE_TELEMETRY=true",
        "ORT_DISABLE_TELEMETRY=1",
        "OMP_WAIT_POLICY=PASSIVE",
    ):
        assert f"{line}\n" in seen


def test_a_failing_program_fails_its_target(make, tmp_path):
    """An exit code is never swallowed."""
    (tmp_path / ".venv/bin/python").write_text("#!/bin/bash\nexit 3\n")
    for target in ("demo", "test", "register", "challenger", "staging", "approved", "monitor", "summary"):
        assert make(target).returncode != 0


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_fresh_clone_sets_itself_up_without_uv(tmp_path):
    """With git, make and Python alone: uv comes into the project, then both environments; once."""
    for name in ("Makefile", "uv.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    folders = [path for path in os.environ["PATH"].split(":") if path and not (Path(path) / "uv").exists()]
    environment = {**os.environ, "PATH": ":".join(folders)}

    def setup() -> str:
        command = ["make", "-C", str(tmp_path), "setup"]
        result = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=1100, check=False
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    assert "installing uv" in setup()
    assert "installing" not in setup()
    imports = {".venv": ("sklearn", 0), ".venv-serving": ("sklearn", 1)}
    for name, (library, code) in imports.items():
        command = [tmp_path / name / "bin/python", "-c", f"import {library}"]
        assert subprocess.run(command, capture_output=True, timeout=120, check=False).returncode == code
    shutil.rmtree(tmp_path)  # some hundred megabytes that nobody looks at
