"""What the documents promise exists, and what exists is documented."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
PACKAGES = ("contract", "training", "serving", "monitoring", "pipelines", "benchmarks")
FENCE = re.compile(r"^```(?:bash|sh|console|shell)\n(?P<body>.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
TARGET = re.compile(r"^(?P<name>[a-z][a-z-]*):(?!=)", re.MULTILINE)
MAKE = re.compile(r"(?:`|^\s*(?:\$ )?)make (?P<words>(?:[A-Z_]+=\S+ )*(?P<name>[a-z][a-z-]*))", re.MULTILINE)
STEP = re.compile(r"python -m (?P<module>(?:pipelines|serving|monitoring|training|benchmarks)(?:\.\w+)*)")
CODE = re.compile(r"^## (?P<code>G\d\d)\b", re.MULTILINE)
VARIABLE = re.compile(r"[\"'](?P<name>FLIGHTLINE_[A-Z][A-Z_]*[A-Z])[\"']")


def documents(root: Path) -> list[Path]:
    """Every Markdown file a reader may open: what is installed or built is none of them."""
    skip = {"var", "artifacts", "node_modules"}
    return sorted(
        path
        for path in root.rglob("*.md")
        if not any(
            part in skip or (part.startswith(".") and part != ".github")
            for part in path.relative_to(root).parts
        )
    )


def problems_of_readme(root: Path) -> list[str]:
    """README is short and begins with the two commands."""
    text = (root / "README.md").read_text()
    lines = len(text.splitlines())
    commands = [
        line.removeprefix("$ ").split("#")[0].strip()
        for block in FENCE.finditer(text)
        for line in block["body"].splitlines()
        if line.strip() and not line.startswith(("#", "git clone", "cd "))
    ]
    found = [] if lines <= 150 else [f"README.md has {lines} lines; expected at most 150"]
    if commands[:2] != ["make demo", "make test"]:
        found.append(f"README.md begins with {commands[:2]}; expected make demo, make test")
    return found


def problems_of_commands(root: Path) -> list[str]:
    """Every `make X` and `python -m package.X` that a document names exists."""
    targets = {match["name"] for match in TARGET.finditer((root / "Makefile").read_text())}
    found = []
    for path in documents(root):
        text = path.read_text()
        where = path.relative_to(root)
        found += [f"{where}: make {m['name']}" for m in MAKE.finditer(text) if m["name"] not in targets]
        for match in STEP.finditer(text):
            if match["module"].rpartition(".")[2].isupper():
                continue  # a placeholder such as pipelines.STEP
            base = root / match["module"].replace(".", "/")
            if not (base.with_suffix(".py").is_file() or (base / "__main__.py").is_file()):
                found.append(f"{where}: python -m {match['module']}")
    return found


def problems_of_links(root: Path) -> list[str]:
    """Every relative link leads to a file of the repository."""
    return [
        f"{path.relative_to(root)}: {match['target']}"
        for path in documents(root)
        for match in LINK.finditer(path.read_text())
        if not re.match(r"(https?:|mailto:|#)", match["target"])
        and not (path.parent / match["target"].partition("#")[0]).exists()
    ]


def problems_of_gates(root: Path) -> list[str]:
    """Gates of policy.yaml and sections of docs/gates.md are the same set."""
    policy = yaml.safe_load((root / "policy.yaml").read_text())
    used = {key for section in walk(policy) for key in section if re.fullmatch(r"G\d\d", str(key))}
    written = {match["code"] for match in CODE.finditer((root / "docs/gates.md").read_text())}
    return (
        [f"policy.yaml has {code}, docs/gates.md has no section of it" for code in sorted(used - written)]
        + [f"docs/gates.md has {code}, policy.yaml does not" for code in sorted(written - used)]
        + ([] if used else ["policy.yaml has no gate"])
    )


def walk(value: object) -> list[list[object]]:
    """The words of every mapping and list inside a YAML value."""
    if isinstance(value, dict):
        return [list(value), *(words for item in value.values() for words in walk(item))]
    if isinstance(value, list):
        return [[item for item in value if isinstance(item, str)], *(w for item in value for w in walk(item))]
    return [[value]] if isinstance(value, str) else []


def problems_of_folders(root: Path) -> list[str]:
    """Each package tells in 10 to 30 lines what enters, what leaves, what it may import."""
    found = []
    for name in PACKAGES:
        path = root / name / "README.md"
        lines = len(path.read_text().splitlines()) if path.is_file() else 0
        if not 10 <= lines <= 30:
            found.append(f"{name}/README.md has {lines} lines; expected 10 to 30")
    return found


def problems_of_variables(root: Path) -> list[str]:
    """Every variable of the environment that code reads is in a document."""
    text = "\n".join(path.read_text() for path in documents(root))
    used = {
        match["name"]
        for package in PACKAGES
        for path in (root / package).rglob("*.py")
        for match in VARIABLE.finditer(path.read_text())
    }
    return [f"{name} is in no document" for name in sorted(used) if not re.search(rf"\b{name}\b", text)]


CHECKS = [
    problems_of_readme,
    problems_of_commands,
    problems_of_links,
    problems_of_gates,
    problems_of_folders,
    problems_of_variables,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_documents_are_right(check):
    """No document promises what is not there, and none is missing."""
    assert check(ROOT) == []


@pytest.fixture
def small(tmp_path):
    """The smallest repository whose documents are right."""
    files = {
        "README.md": "# It\n\n```bash\nmake demo\nmake test   # all\n```\n\n[Gates](docs/gates.md#g01).\n",
        "Makefile": "demo: setup ## it\ntest:\nsetup:\nVALUE := 1\n",
        "policy.yaml": "iris:\n  gates:\n    G01: {gap: 1}\n  may_not_apply: [G05]\n",
        "docs/gates.md": "## G01 · loss\n\n## G05\n\nSet `FLIGHTLINE_VAR`, `python -m pipelines.go`.\n",
        "pipelines/go.py": 'NAME = "FLIGHTLINE_VAR"\n',
        **{f"{name}/README.md": "line\n" * 12 for name in PACKAGES},
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_right_repository_has_no_problem(small, check):
    """The checks are not simply red."""
    assert check(small) == []


@pytest.mark.parametrize(
    ("check", "file", "text", "problem"),
    [
        (
            problems_of_readme,
            "README.md",
            "```bash\nmake test\nmake demo\n```\n",
            "expected make demo, make test",
        ),
        (problems_of_readme, "README.md", "```sh\nmake demo\nmake test\n```\n" + "x\n" * 150, "154 lines"),
        (problems_of_commands, "docs/a.md", "Run `make dinner` now.", "make dinner"),
        (problems_of_commands, "docs/a.md", "```\nmake VALUE=2 dinner\n```", "make dinner"),
        (
            problems_of_commands,
            "docs/a.md",
            "Run `python -m pipelines.gone iris`.",
            "python -m pipelines.gone",
        ),
        (problems_of_commands, ".github/a.md", "`make dinner`", "make dinner"),
        (problems_of_links, "docs/a.md", "See [there](../missing.md).", "../missing.md"),
        (problems_of_links, "docs/a.md", "![picture](loop.svg)", "loop.svg"),
        (problems_of_gates, "docs/gates.md", "## G01\n", "policy.yaml has G05"),
        (problems_of_gates, "docs/gates.md", "## G01\n## G05\n## G77\n", "docs/gates.md has G77"),
        (problems_of_folders, "serving/README.md", "short\n", "serving/README.md has 1 lines"),
        (problems_of_folders, "training/README.md", "long\n" * 31, "training/README.md has 31 lines"),
        (
            problems_of_variables,
            "serving/a.py",
            'os.environ["FLIGHTLINE_SECRET_KNOB"]',
            "FLIGHTLINE_SECRET_KNOB",
        ),
    ],
)
def test_a_document_that_lies_is_found(small, check, file, text, problem):
    """One wrong line, and the check that exists for it names it."""
    (small / file).parent.mkdir(exist_ok=True)
    (small / file).write_text(text)
    assert any(problem in line for line in check(small))


def test_a_missing_folder_readme_is_found(small):
    """A package without a README counts as one of no lines."""
    shutil.rmtree(small / "contract")
    assert problems_of_folders(small) == ["contract/README.md has 0 lines; expected 10 to 30"]


def test_help_lists_every_documented_target():
    """`make help` is generated from the Makefile, so it cannot forget one; each has a sentence."""
    text = (ROOT / "Makefile").read_text()
    described = re.findall(r"^([a-z-]+):.*## \S.+$", text, re.MULTILINE)
    assert {"demo", "test", "setup", "up", "down", "check"} <= set(described)
    assert len(described) <= 26  # they fit on a screen
