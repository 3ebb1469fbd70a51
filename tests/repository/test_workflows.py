"""The workflows are thin, safe and pinned; each rule is seen to bite."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.repository.workflows import FOLDER, ROOT, jobs, workflows

pytestmark = pytest.mark.unit

PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")
SCREENSHOTS = "var/screenshots"  # where tests/pipelines/promotion/test_browser.py leaves them
MAKE = re.compile(r"make [a-z][a-z-]*( [A-Z_]+=\w+)*")


def unpinned(root: Path) -> list[str]:
    """Actions that could change under us: no full commit, or no version in a comment beside it."""
    return [
        f"{path.name}: {line.strip()}"
        for path in sorted((root / ".github").rglob("*.yml"))
        for line in path.read_text().splitlines()
        if (match := re.match(r"\s*(?:- )?uses: (?P<what>.*)", line))
        and not match["what"].startswith("./")
        and not PINNED.fullmatch(match["what"])
    ]


def permissions(root: Path) -> list[str]:
    """Rights beyond none at the top, and rights of a job without a reason beside them."""
    found = [
        f"{file}: top" for file, workflow in workflows(root).items() if workflow.get("permissions") != {}
    ]
    found += [
        f"{name}: none declared" for name, job in jobs(root) if not isinstance(job.get("permissions"), dict)
    ]
    found += [
        f"{path.name}: {line.strip()}"
        for path in sorted((root / FOLDER).glob("*.yml"))
        for line in path.read_text().splitlines()
        if re.search(r": (read|write)\b", line) and not re.search(r": (read|write) # to \w+", line)
    ]
    return found


def timeless(root: Path) -> list[str]:
    """Jobs and steps without a timeout; a called workflow brings its own."""
    found = [name for name, job in jobs(root) if "uses" not in job and "timeout-minutes" not in job]
    return found + [
        f"{name}: step {number}"
        for name, job in jobs(root)
        for number, step in enumerate(job.get("steps", []))
        if "timeout-minutes" not in step
    ]


def uncoordinated(root: Path) -> list[str]:
    """Workflows of which two runs could meet."""
    return [
        file for file, workflow in workflows(root).items() if "group" not in workflow.get("concurrency", {})
    ]


def clever(root: Path) -> list[str]:
    """Steps that run anything but one call of a make target: logic belongs where it is tested."""
    actions = [yaml.safe_load(path.read_text()) for path in (root / ".github/actions").rglob("action.yml")]
    steps = [(name, step) for name, job in jobs(root) for step in job.get("steps", [])]
    steps += [("action", step) for action in actions for step in action["runs"]["steps"]]
    return [
        f"{name}: {step['run'].strip()}"
        for name, step in steps
        if "run" in step and not MAKE.fullmatch(step["run"])
    ]


def unknown_targets(root: Path) -> list[str]:
    """Make targets that a workflow calls and the Makefile does not have."""
    targets = set(re.findall(r"^([a-z][a-z-]*):(?!=)", (root / "Makefile").read_text(), re.MULTILINE))
    called = {
        word
        for path in (root / ".github").rglob("*.yml")
        for word in re.findall(r"run: make ([a-z-]+)", path.read_text())
    }
    return sorted(called - targets)


def keeping_credentials(root: Path) -> list[str]:
    """Checkouts that leave the token in the clone."""
    return [
        name
        for name, job in jobs(root)
        for step in job.get("steps", [])
        if "actions/checkout@" in step.get("uses", "")
        and step.get("with", {}).get("persist-credentials") is not False
    ]


def using_secrets(root: Path) -> list[str]:
    """Files that would not be green on a fork."""
    return [path.name for path in (root / ".github").rglob("*.yml") if "secrets." in path.read_text()]


def unnamed_by_required(root: Path) -> list[str]:
    """Jobs of CI that the last one does not wait for, and a last one that could be skipped."""
    ci = workflows(root)["ci.yml"]["jobs"]
    last = ci["required"]
    found = sorted(ci.keys() - {"required"} - set(last["needs"]))
    return found if last.get("if") == "always()" else [*found, "required may be skipped"]


def unseen(root: Path) -> list[str]:
    """What would leave nobody a picture of what the browser showed, above all in a run that fails."""
    steps = workflows(root)["ci.yml"]["jobs"].get("browser", {}).get("steps", [])
    runs = [number for number, step in enumerate(steps) if step.get("run") == "make test-browser"]
    after = steps[runs[0] + 1 :] if runs else []
    upload = next((step for step in after if "actions/upload-artifact@" in step.get("uses", "")), {})
    given = upload.get("with", {})
    facts = {
        "no browser": bool(runs),
        "a runner without a browser is green": bool(runs)
        and steps[runs[0]].get("env", {}).get("REQUIRE") == "browser",
        "no pictures": given.get("path") == f"{SCREENSHOTS}/*.png",
        "pictures of passing tests alone": upload.get("if") == "always()",
        "a missing picture is passed over": given.get("if-no-files-found") == "error",
        "pictures stay too long": 0 < given.get("retention-days", 0) <= 14,
    }
    return [name for name, holds in facts.items() if not holds]


RULES = [
    unpinned,
    permissions,
    timeless,
    uncoordinated,
    clever,
    unknown_targets,
    keeping_credentials,
    using_secrets,
    unnamed_by_required,
    unseen,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_workflows_keep_the_rule(rule):
    """No workflow and no local action breaks it."""
    assert rule(ROOT) == []


@pytest.mark.parametrize(
    ("rule", "old", "new"),
    [
        (unpinned, "@08c6903cd8c0fde910a37f88322edcfb5dd907a8 # v5.0.0", "@v5"),
        (unpinned, " # v5.0.0", ""),
        (unpinned, "@08c6903cd8c0fde910a37f88322edcfb5dd907a8", "@08c6903cd8c0"),
        (permissions, "permissions: {}", "permissions: write-all"),
        (permissions, "    permissions:\n      contents: read # to check the code out\n", ""),
        (permissions, "contents: read # to check the code out", "contents: write"),
        (timeless, "    timeout-minutes: 15\n", ""),
        (timeless, "        timeout-minutes: 6\n", ""),
        (uncoordinated, "concurrency:\n  group: ", "env:\n  group: "),
        (clever, "run: make check", "run: make check || true"),
        (clever, "run: make check", "run: |\n          make check\n          make test"),
        (clever, "run: make check", "run: .venv/bin/ruff check"),
        (unknown_targets, "run: make check", "run: make chekc"),
        (keeping_credentials, "persist-credentials: false", "persist-credentials: true"),
        (using_secrets, "${{ join(needs.*.result, ' ') }}", "${{ secrets.TOKEN }}"),
        (unnamed_by_required, "needs: [checks, ", "needs: ["),
        (unnamed_by_required, "    if: always()\n    needs:", "    needs:"),
        (unseen, "run: make test-browser", "run: make test-unit"),
        (unseen, "          REQUIRE: browser", "          OTHER: browser"),
        (unseen, "uses: actions/upload-artifact@", "uses: actions/download-artifact@"),
        (
            unseen,
            "        if: always()\n        timeout-minutes: 3\n        with:\n          name: screenshots",
            "        with:",
        ),
        (unseen, "path: var/screenshots/", "path: screenshots/"),
        (unseen, "          if-no-files-found: error\n", ""),
        (unseen, "          retention-days: 7\n", ""),
    ],
)
def test_a_broken_rule_is_found(tmp_path, rule, old, new):
    """One change in a copy of ci.yml, and the rule that exists for it names it."""
    shutil.copytree(ROOT / ".github", tmp_path / ".github")
    shutil.copy(ROOT / "Makefile", tmp_path)
    path = tmp_path / FOLDER / "ci.yml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    assert rule(tmp_path) != []


def test_the_screenshots_are_where_ci_looks_for_them():
    """The folder that the browser's tests write to, and no other."""
    text = (ROOT / "tests/pipelines/promotion/test_browser.py").read_text()
    assert 'SCREENSHOTS = Path(__file__).parents[3] / "var" / "screenshots"' in text


@pytest.mark.parametrize(
    ("file", "events"),
    [
        ("ci.yml", {"push", "pull_request"}),
        ("ct.yml", {"workflow_dispatch", "repository_dispatch"}),
        ("cd.yml", {"push", "workflow_call", "workflow_dispatch", "repository_dispatch"}),
        ("monitor.yml", {"schedule", "workflow_dispatch"}),
        ("score.yml", {"schedule", "workflow_dispatch", "repository_dispatch"}),
    ],
)
def test_each_workflow_starts_when_it_should(file, events):
    """Push and pull request test; dispatches retrain and promote; the clock monitors and scores."""
    assert set(workflows(ROOT)[file][True]) == events


def test_the_gates_that_ci_names_are_the_two_that_were_asked_for():
    """Loss convergence and the accuracy threshold each have a job of their own."""
    commands = [step.get("run") for _, job in jobs(ROOT) for step in job.get("steps", [])]
    assert {"make gate GATE=G01", "make gate GATE=G03", "make test-features"} <= set(commands)
