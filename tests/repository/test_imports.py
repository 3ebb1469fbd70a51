"""Imports point one way, and importing does nothing."""

import ast
import shutil
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
MAY_IMPORT = {
    "contract": {"contract"},
    "training": {"contract", "training"},
    "serving": {"contract", "serving"},
    "monitoring": {"contract", "monitoring"},
    "pipelines": {"contract", "training", "serving", "monitoring", "pipelines"},
    "benchmarks": {"contract", "training", "serving", "monitoring", "pipelines", "benchmarks"},
}
# A library that only one module may know, so that replacing it is one file's work.
ONLY_IN = {"evidently": {"monitoring/drift.py"}, "onnxruntime": {"contract/graphs.py"}}
# A word of a name called at import time that changes the world or asks it something.
EFFECTS = {
    *("open", "print", "mkdir", "makedirs", "write_text", "write_bytes", "touch", "unlink", "rmtree"),
    *("read_text", "read_bytes", "iterdir", "glob", "getenv", "basicConfig", "dictConfig"),
    *("set_tracking_uri", "set_registry_uri", "set_experiment", "autolog", "MlflowClient"),
    *("run", "Popen", "check_call", "check_output", "system", "now", "today", "connect", "urlopen", "seed"),
}


# Servers of other kinds, to compare with: their frameworks want an application at import, and some of them an
# environment of their own.
OTHERS = ("benchmarks/peers/", "benchmarks/serving/apps/")


def modules(root: Path) -> list[str]:
    """Every Python file of the packages, as posix paths below `root`."""
    found = (path.relative_to(root).as_posix() for name in MAY_IMPORT for path in (root / name).rglob("*.py"))
    return sorted(name for name in found if not name.startswith(OTHERS))


@cache  # most modules of a copy are those of the repository
def imported(source: str) -> frozenset[str]:
    """Top-level names that a module imports anywhere in its body."""
    tree = ast.parse(source)
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {
        node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level
    }
    return frozenset(name.partition(".")[0] for name in names)


def wrong_arrows(root: Path) -> list[str]:
    """`file imports package`, for each import that the map does not allow."""
    found = []
    for path in modules(root):
        names = imported((root / path).read_text())
        forbidden = (names & MAY_IMPORT.keys()) - MAY_IMPORT[path.partition("/")[0]]
        forbidden |= names & {"tests", "conftest"}
        forbidden |= {name for name, allowed in ONLY_IN.items() if name in names and path not in allowed}
        found += [f"{path} imports {name}" for name in sorted(forbidden)]
    return found


def effects_at_import(root: Path) -> list[str]:
    """`file:line calls name`, for each call with an effect that runs when the module is imported."""
    return [f"{path}:{line}" for path in modules(root) for line in effects((root / path).read_text())]


@cache
def effects(source: str) -> tuple[str, ...]:
    """`line calls name`, for each call of one module."""
    found = []
    for node in running(ast.parse(source).body):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in EFFECTS:
                found.append(f"{node.lineno} calls {name}")
        elif isinstance(node, ast.Attribute) and node.attr == "environ":
            found.append(f"{node.lineno} reads environ")
    return tuple(found)


def running(nodes: list[ast.AST]) -> list[ast.AST]:
    """The nodes that run at import: all but the bodies of functions and of `if __name__ == "__main__"`."""
    found: list[ast.AST] = []
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found += running(
                [*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)]
            )
        elif not isinstance(node, ast.Lambda) and not (
            isinstance(node, ast.If) and "__name__" in ast.dump(node.test)
        ):
            found += [node, *running(list(ast.iter_child_nodes(node)))]
    return found


@pytest.fixture
def copy(tmp_path):
    """The packages in a folder of their own, to break."""
    for name in MAY_IMPORT:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_imports_follow_the_map():
    """The contract knows nobody, the three siblings know contract alone, pipelines know all."""
    assert len(modules(ROOT)) > 10
    assert wrong_arrows(ROOT) == []


@pytest.mark.parametrize(
    ("file", "line", "name"),
    [
        ("contract/extra.py", "import training.models", "training"),
        ("contract/extra.py", "from pipelines import cli", "pipelines"),
        ("training/extra.py", "from monitoring import drift", "monitoring"),
        ("training/extra.py", "from serving.rows import decode", "serving"),
        ("serving/extra.py", "import training", "training"),
        ("serving/extra.py", "def lazy():\n    from monitoring import drift", "monitoring"),
        ("monitoring/extra.py", "from serving import rows", "serving"),
        ("monitoring/extra.py", "import pipelines.cli as cli", "pipelines"),
        ("monitoring/extra.py", "from evidently import Report", "evidently"),
        ("pipelines/extra.py", "import evidently", "evidently"),
        ("pipelines/extra.py", "from benchmarks import calibration", "benchmarks"),
        ("pipelines/extra.py", "from tests.plugins import require", "tests"),
    ],
)
def test_a_forbidden_import_is_found(copy, file, line, name):
    """One line in one new module is enough."""
    (copy / file).write_text(line)
    assert f"{file} imports {name}" in wrong_arrows(copy)


def test_nothing_happens_at_import():
    """No folder is made, no file or variable read, no process started, no library configured."""
    assert effects_at_import(ROOT) == []


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ("from pathlib import Path\nPath('var').mkdir()", "calls mkdir"),
        ("DATA = open('x').read()", "calls open"),
        ("import os\nHOME = os.environ['HOME']", "reads environ"),
        ("import mlflow\nif True:\n    mlflow.set_tracking_uri('x')", "calls set_tracking_uri"),
        ("import logging\nlogging.basicConfig()", "calls basicConfig"),
        ("class A:\n    now = datetime.now()", "calls now"),
        ("def f(when=datetime.now()): pass", "calls now"),
        ("import subprocess\ntry:\n    subprocess.run(['git'])\nfinally:\n    pass", "calls run"),
    ],
)
def test_an_effect_at_import_is_found(copy, source, word):
    """At the top level, in a class body, in a default, in a branch."""
    (copy / "pipelines/extra.py").write_text(source)
    assert any(
        line.startswith("pipelines/extra.py") and line.endswith(word) for line in effects_at_import(copy)
    )


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n    open('x')",
        "if __name__ == '__main__':\n    print('hello')",
        "F = lambda: open('x')",
    ],
)
def test_an_effect_when_called_is_nobodys_business(copy, source):
    """A function, a main block and a lambda run later."""
    (copy / "pipelines/extra.py").write_text(source)
    assert not [line for line in effects_at_import(copy) if line.startswith("pipelines/extra.py")]


def test_no_package_file_below_tests():
    """`tests/training/__init__.py` alone would hide the real `training` from every test."""
    assert list((ROOT / "tests").rglob("__init__.py")) == []
