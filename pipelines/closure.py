"""Which repository files a DVC stage reaches through its imports, against the `deps` that dvc.yaml declares.

A missing dependency gives stale outputs without a word; a superfluous one rebuilds what did not change.
"""

import argparse
import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from contract.errors import ConfigError, FlightlineError
from pipelines.cli import FAILED, OK, command

PACKAGES = ("contract", "training", "serving", "monitoring", "pipelines")
_STEP = re.compile(r"-m pipelines\.(?P<stage>\w+)(?: (?P<model>\w+))?")


@dataclass(frozen=True)
class Difference:
    """What one stage of dvc.yaml should and should not declare; both empty where it is right."""

    stage: str
    missing: tuple[str, ...]
    superfluous: tuple[str, ...]

    def __str__(self) -> str:
        """One line a person can act on."""
        parts = [
            f"{word} {', '.join(names)}"
            for word, names in (("add", self.missing), ("remove", self.superfluous))
            if names
        ]
        return f"dvc.yaml, deps of {self.stage}: {'; '.join(parts)}"


def closure(root: Path, stage: str, model: str) -> tuple[str, ...]:
    """The `.py` files that `python -m pipelines.STAGE MODEL` reaches below `root`, sorted, as posix paths.

    Imports inside functions count. A module imported by a computed name (`f"training.models.{name}"`)
    resolves to the one of that `model`. An `__init__.py` with nothing but its docstring decides nothing
    and is left out.

    Raises:
        FlightlineError: there is no such stage, or a reached file is not Python.
    """
    first = f"pipelines/{stage}.py"
    if not (root / first).is_file():
        raise FlightlineError(
            f"there is no stage '{stage}' ({first})", "a file of pipelines/", "Correct the stage's name"
        )
    found: set[str] = set()
    pending = {first, "pipelines/__init__.py"} if (root / "pipelines/__init__.py").is_file() else {first}
    while pending:
        path = pending.pop()
        found.add(path)
        for name in _imported(_parse(root / path), path, model):
            pending |= set(_files(root, name)) - found
    return tuple(sorted(path for path in found if not _says_nothing(root / path)))


def differences(root: Path) -> tuple[Difference, ...]:
    """Every stage of `root`'s dvc.yaml whose declared `.py` deps are not its import closure.

    Raises:
        FlightlineError: dvc.yaml is missing or unreadable, or a stage runs no `python -m pipelines.STEP`.
    """
    found = []
    for name, cmd, declared in _stages(root):
        step = _STEP.search(cmd)
        if step is None:
            raise ConfigError(
                f"stage {name} of dvc.yaml runs '{cmd}'", "python -m pipelines.STEP MODEL", "Correct its cmd"
            )
        needed = set(closure(root, step["stage"], step["model"] or ""))
        if needed != declared:
            found.append(Difference(name, tuple(sorted(needed - declared)), tuple(sorted(declared - needed))))
    return tuple(found)


def _stages(root: Path) -> Iterator[tuple[str, str, set[str]]]:
    """Name, command and declared code of each stage, as DVC itself resolves foreach and `${…}`."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo:
            for stage in sorted(
                (stage for stage in repo.index.stages if stage.cmd), key=lambda stage: stage.name
            ):
                paths = (path for dep in stage.deps for path in _python(Path(dep.fs_path)))
                yield (
                    stage.name,
                    str(stage.cmd),
                    {path.relative_to(repo.root_dir).as_posix() for path in paths},
                )
    except DvcException as error:
        raise ConfigError(
            f"dvc.yaml cannot be read ({error})", "a valid pipeline", "Correct dvc.yaml and run again"
        ) from error


def _python(dep: Path) -> list[Path]:
    """The code that one dependency stands for: a file, or all of a model's folder."""
    found = sorted(dep.rglob("*.py")) if dep.is_dir() else [dep] if dep.suffix == ".py" else []
    return [path for path in found if not _says_nothing(path)]


def _imported(tree: ast.Module, path: str, model: str) -> Iterator[str]:
    """Dotted names that a module may import: `from a import b` gives both `a` and `a.b`."""
    package = Path(path).parent.as_posix().replace("/", ".")
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: 1 - node.level or None] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.JoinedStr):
            yield from _computed(node, model)


def _computed(node: ast.JoinedStr, model: str) -> Iterator[str]:
    """`f"training.models.{name}"` is how a model is imported by its name."""
    head = node.values[0] if node.values else None
    start = head.value if isinstance(head, ast.Constant) else None
    if isinstance(start, str) and re.fullmatch(r"([a-z_]+\.)+", start):
        yield f"{start}{model}"


def _files(root: Path, name: str) -> Iterator[str]:
    """The files that importing the dotted `name` runs: its own and each package's on the way."""
    parts = name.split(".")
    if parts[0] not in PACKAGES:
        return
    for end in range(1, len(parts) + 1):
        stem = "/".join(parts[:end])
        yield from (path for path in (f"{stem}/__init__.py", f"{stem}.py") if (root / path).is_file())


def _parse(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_text(), filename=str(path))
    except SyntaxError as error:
        raise FlightlineError(f"{path} is not Python ({error})", "a module", "Correct it") from None


def _says_nothing(path: Path) -> bool:
    """Whether a file is a package's `__init__.py` with a docstring at most."""
    if path.name != "__init__.py":
        return False
    tree = _parse(path)
    return len(tree.body) == (0 if ast.get_docstring(tree) is None else 1)


def main(argv: list[str] | None = None) -> int:
    """Print one stage's files as dvc.yaml wants them, or, without a stage, every difference."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.closure",
        description="Print the files a stage depends on, or compare dvc.yaml with all of them.",
        epilog="example: python -m pipelines.closure train flights",
    )
    parser.add_argument("stage", nargs="?", help="for example train; without it, dvc.yaml is checked")
    parser.add_argument("model", nargs="?", default="", help="for example flights")
    chosen = parser.parse_args(argv)
    if chosen.stage:
        for path in closure(Path.cwd(), chosen.stage, chosen.model):
            print(f"- {path}")
        return OK
    wrong = differences(Path.cwd())
    for difference in wrong:
        print(difference)
    return FAILED if wrong else OK


if __name__ == "__main__":
    command(main)
