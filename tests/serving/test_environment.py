"""What the serving environment holds, and what the service asks of it (R1)."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving.real import PYTHON, ROOT

if not PYTHON.exists():
    pytest.skip("NO .venv-serving: `make test` makes it; nobody looks into it", allow_module_level=True)

TRAINING = ("sklearn", "skl2onnx", "onnx", "dvc", "ibis", "mlflow", "evidently", "training", "pipelines")
TABLES = ("polars", "pandas", "pyarrow", "duckdb")  # each would be the largest thing in a server's memory


def missing(names: set[str]) -> set[str]:
    """Of `names`, those that cannot be imported where a service runs."""
    program = "import importlib.util as u, sys; print(*(n for n in sys.argv[1:] if u.find_spec(n) is None))"
    done = subprocess.run(
        [PYTHON, "-c", program, *sorted(names)], cwd="/", capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def imported(path: Path) -> set[str]:
    """Every module that a file imports, at its beginning or later."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def asked_for(folder: Path) -> set[str]:
    """Libraries that the service's code, and what it uses of the contract, imports anywhere."""
    waiting, seen, libraries = set((folder / "serving").rglob("*.py")), set(), set()
    while waiting:
        path = waiting.pop()
        seen.add(path)
        for name in imported(path):
            top = name.partition(".")[0]
            if top not in {"serving", "contract"}:
                libraries.add(top)
            elif (file := folder / f"{name.replace('.', '/')}.py").exists() and file not in seen:
                waiting.add(file)
    return libraries - sys.stdlib_module_names


@pytest.mark.parametrize("library", [*TRAINING, *TABLES])
def test_it_holds_no_library_of_training_or_of_tables(library) -> None:
    """Training and inference are separate environments."""
    assert missing({library}) == {library}


def test_it_holds_everything_that_the_service_imports() -> None:
    """Also what is imported only when it is needed: nobody finds out in production."""
    found = asked_for(ROOT)
    assert {"bentoml", "onnxruntime", "grpc", "redis", "fsspec"} <= found
    assert missing(found) == set()


def test_a_late_import_would_be_seen(tmp_path) -> None:
    """Inside a function, and through the contract."""
    for name, text in (
        ("serving/late.py", "def f():\n    from contract.table import g\n"),
        ("contract/table.py", "def g():\n    import polars.io\n"),
    ):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    assert asked_for(tmp_path) == {"polars"}
