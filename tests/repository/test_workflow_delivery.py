"""Every merge is staged, the workflows ship what was approved, and monitoring says what it saw (D5, C6)."""

import shutil
from pathlib import Path

import pytest

from tests.repository.workflows import FOLDER, ROOT, workflows

pytestmark = pytest.mark.unit


def test_production_comes_after_staging_behind_its_environment():
    """The job waits for staging's suite and for whoever protects the environment."""
    production = workflows(ROOT)["cd.yml"]["jobs"]["production"]
    assert production["needs"] == "staging"
    assert production["environment"] == "production"


def undelivered(root: Path) -> list[str]:
    """What would ship another bundle than the approved one, or call a kept champion a failure."""
    files = workflows(root)
    staging, production = (files["cd.yml"]["jobs"][name] for name in ("staging", "production"))
    retrain, deliver = (files["ct.yml"]["jobs"][name] for name in ("retrain", "deliver"))
    accepted = "steps.challenger.outputs.accepted"
    steps = {step["run"]: step for step in staging["steps"] if "run" in step}
    order = [step.get("run") for step in production["steps"]]
    approved, clicked = (
        next((step for step in job["steps"] if step.get("run") == "make approved"), {})
        for job in (production, staging)
    )
    tested = [step.get("run") for step in staging["steps"]]
    facts = {
        "staging names no digest": staging.get("outputs") == {"digest": "${{ steps.tested.outputs.digest }}"},
        "the digest is not that of make digest": steps["make digest"].get("id") == "tested",
        "staging runs without a challenger": all(
            steps[name].get("if") == f"{accepted} == 'true'" for name in ("make staging", "make digest")
        ),
        "production runs without a digest": "needs.staging.outputs.digest != ''" in production["if"],
        "production compares nothing": approved.get("env")
        == {"DIGEST": "${{ needs.staging.outputs.digest }}"},
        "production compares too early or too late": [
            name for name in order if name in {"make staging", "make approved", "make production"}
        ]
        == ["make staging", "make approved", "make production"],
        "a click may ship another version": clicked.get("env")
        == {"DIGEST": "${{ github.event.client_payload.digest }}"}
        and clicked.get("if") == "github.event_name == 'repository_dispatch'"
        and [name for name in tested if name in {"make digest", "make approved", "make down"}]
        == ["make digest", "make approved", "make down"],
        "retraining names no outcome": retrain.get("outputs") == {"accepted": f"${{{{ {accepted} }}}}"},
        "a kept champion is delivered": deliver.get("if") == "needs.retrain.outputs.accepted == 'true'",
    }
    return [name for name, holds in facts.items() if not holds]


def untested(root: Path) -> list[str]:
    """What would let a merge to main or to the staging branch go without a model-deployment test (C6)."""
    cd = workflows(root)["cd.yml"]
    job = cd["jobs"]["staging"]
    staged = [step for step in job["steps"] if step.get("run") == "make staging"]
    accepted = "steps.challenger.outputs.accepted == 'true'"
    facts = {
        "not on a merge": cd[True].get("push") == {"branches": ["main", "staging"]},
        "the job may be skipped": "if" not in job and "needs" not in job,
        "nothing is deployed": [step.get("if") for step in staged] == [accepted],
        "a failure that is passed over": not any(
            "continue-on-error" in step for step in [job, *job["steps"]]
        ),
    }
    return [name for name, holds in facts.items() if not holds]


def unpackaged(root: Path) -> list[str]:
    """What would let the image of a model be another than that of the tested version, or go untested (R5)."""
    steps = workflows(root)["cd.yml"]["jobs"]["staging"]["steps"]
    order = [
        step.get("run") for step in steps if step.get("run") in {"make staging", "make image", "make down"}
    ]
    image = next((step for step in steps if step.get("run") == "make image"), {})
    facts = {
        "no image is made": order == ["make staging", "make image", "make down"],
        "an image of nothing": image.get("if") == "steps.challenger.outputs.accepted == 'true'",
        "an image of something else": image.get("env") == {"VERSION": "${{ env.MODEL }}@staging"},
    }
    return [name for name, holds in facts.items() if not holds]


def mute(root: Path) -> list[str]:
    """What would keep the daily check from seeing production, or from saying what it saw."""
    job = workflows(root)["monitor.yml"]["jobs"]["check"]
    steps = {step["run"]: step for step in job["steps"] if "run" in step}
    facts = {
        "no other runner": "vars.FLIGHTLINE_RUNNER" in job["runs-on"],
        "no state": "vars.FLIGHTLINE_VAR" in job["env"].get("FLIGHTLINE_VAR", ""),
        "no summary": steps.get("make summary", {}).get("if") == "always()",
        "a failure that is passed over": not any("continue-on-error" in step for step in job["steps"]),
    }
    return [name for name, holds in facts.items() if not holds]


@pytest.mark.parametrize("rule", [undelivered, untested, unpackaged, mute], ids=lambda rule: rule.__name__)
def test_delivery_and_monitoring_keep_the_rule(rule):
    """What ships is what was approved; a check that cannot see says so."""
    assert rule(ROOT) == []


@pytest.mark.parametrize(
    ("rule", "file", "old", "new"),
    [
        (undelivered, "cd.yml", "      digest: ${{ steps.tested.outputs.digest }}", "      digest: known"),
        (undelivered, "cd.yml", "        id: tested\n", ""),
        (undelivered, "cd.yml", "        if: steps.challenger.outputs.accepted == 'true'\n", ""),
        (undelivered, "cd.yml", " && needs.staging.outputs.digest != ''", ""),
        (undelivered, "cd.yml", "          DIGEST: ${{ needs.staging.outputs.digest }}", "          A: b"),
        (undelivered, "cd.yml", "- run: make approved", "- run: make digest"),
        (undelivered, "cd.yml", "client_payload.digest }}", "client_payload.version }}"),
        (undelivered, "cd.yml", "        if: github.event_name == 'repository_dispatch'\n", ""),
        (undelivered, "ct.yml", "      accepted: ${{ steps.challenger.outputs.accepted }}", "      a: b"),
        (undelivered, "ct.yml", "    if: needs.retrain.outputs.accepted == 'true'\n", ""),
        (untested, "cd.yml", "branches: [main, staging]", "branches: [main]"),
        (untested, "cd.yml", "    environment: staging\n", "    if: github.event_name != 'push'\n"),
        (untested, "cd.yml", "- run: make staging", "- run: make digest"),
        (
            untested,
            "cd.yml",
            "- run: make staging\n",
            "- run: make staging\n        continue-on-error: true\n",
        ),
        (unpackaged, "cd.yml", "- run: make image", "- run: make digest"),
        (unpackaged, "cd.yml", "${{ env.MODEL }}@staging", "${{ env.MODEL }}@champion"),
        (
            unpackaged,
            "cd.yml",
            "- run: make image\n        if: steps.challenger.outputs.accepted == 'true'\n",
            "- run: make image\n",
        ),
        (mute, "monitor.yml", "${{ vars.FLIGHTLINE_RUNNER || 'ubuntu-latest' }}", "ubuntu-latest"),
        (mute, "monitor.yml", "      FLIGHTLINE_VAR: ${{ vars.FLIGHTLINE_VAR }}\n", ""),
        (mute, "monitor.yml", "        if: always()\n", ""),
        (mute, "monitor.yml", "make monitor\n", "make monitor\n        continue-on-error: true\n"),
    ],
)
def test_a_delivery_that_breaks_the_rule_is_found(tmp_path, rule, file, old, new):
    """One change in a copy, and the rule that exists for it names it."""
    shutil.copytree(ROOT / ".github", tmp_path / ".github")
    path = tmp_path / FOLDER / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    assert rule(tmp_path) != []
