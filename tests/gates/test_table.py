"""`python -m pipelines.gates` shows every gate of the latest run, and says what nobody has judged yet."""

import contextlib
import json

import pytest

from contract.verdict import Verdict
from pipelines import gates
from pipelines.delivery.evidence import CELL, DESCRIPTION_LIMIT, description, tags, whole_card
from pipelines.delivery.judging import OF_THE_RUN, OF_THE_WORLD
from pipelines.gate import gate
from training.gates.policy import CODES


def verdict(code, word="pass", text="x"):
    """A verdict whose cells hold `text`."""
    return Verdict(code, f"title of {code}", word, text, text, text)


def table(workshop, capsys, *words):
    """Exit code and output of the command on the sample."""
    with contextlib.chdir(workshop.folder):
        code = gates.main(["flights", *words])
    return code, capsys.readouterr().out


def test_every_gate_is_in_the_table(workshop, capsys):
    """Those of the world before qualification, too: judged for the table alone, and nothing is kept of it."""
    world = workshop.world()
    code, before = table(workshop, capsys)
    assert code == 0
    assert f"not qualified yet, would be accepted against {workshop.bundle.digest[:12]}" in before
    assert "17 pass, 0 fail, 0 not judged" in before
    assert workshop.world() == world
    assert workshop.qualify()[0] == 0
    code, after = table(workshop, capsys)
    assert code == 0
    assert f", accepted against {workshop.bundle.digest[:12]}" in after
    assert "not qualified" not in after
    code, text = table(workshop, capsys, "--json")
    (found,) = json.loads(text)
    assert code == 0
    assert sorted(row["code"] for row in found["rows"]) == sorted([*OF_THE_RUN, *OF_THE_WORLD])
    assert {row["code"] for row in found["rows"]} == set(CODES)
    assert found["champion"] == workshop.bundle.digest


def test_a_gate_that_would_fail_fails_the_table_before_anybody_qualified(workshop, capsys):
    """What `make gates` shows of a fresh build is what qualification will say (S8)."""
    workshop.change("policy.yaml", "gates.G05.min_blocks", 9)
    code, said = table(workshop, capsys)
    assert code == 1
    assert "not qualified yet, would be kept against" in said
    assert not workshop.settings.qualification(workshop.bundle.digest).exists()


def test_what_cannot_be_judged_is_no_success(workshop, capsys):
    """The champion's release is damaged: five gates say so, and the command fails."""
    (release,) = workshop.settings.releases.iterdir()
    (release / "bundle" / "model.onnx").write_bytes(b"")
    code, said = table(workshop, capsys)
    assert code == 1
    assert said.count("  not judged  ") == len(OF_THE_WORLD)
    assert f", {len(OF_THE_WORLD)} not judged" in said
    assert "would be" not in said


def test_a_failed_gate_fails_the_command_and_shows_its_reason(workshop, capsys):
    """Whether the run failed it or the world did."""
    workshop.change("policy.yaml", "gates.G05.min_blocks", 9)
    assert workshop.qualify()[0] == 10
    code, said = table(workshop, capsys)
    assert code == 1
    assert "kept against" in said
    assert "policy.yaml asks for 9" in said
    workshop.change("policy.yaml", "gates.G01.min_fall", 0.99)
    workshop.rebuild(gate)
    code, said = table(workshop, capsys)
    assert code == 1
    assert "under 0.99" in said


def test_a_verdict_that_the_present_policy_does_not_accept_counts_as_failed(uncrowned, capsys):
    """G05 did not apply and may no longer do so: the table is as strict as qualification."""
    assert uncrowned.qualify()[0] == 0
    assert table(uncrowned, capsys)[0] == 0
    uncrowned.change("policy.yaml", "gates.may_not_apply", [])
    code, said = table(uncrowned, capsys)
    assert code == 1
    assert "which policy.yaml does not allow" in said


@pytest.mark.unit
def test_a_description_holds_every_gate_and_then_the_card():
    """Once, not twice, and within the width of MLflow's column however much each gate says."""
    card = (
        "---\nname: x\n---\n\n# flights\n\nAs of today.\n\n## Gates\n\n| old | table |\n\n## Inputs\n\n"
        + "row\n" * 2000
    )
    codes = [f"G{number:02}" for number in range(17, 0, -1)]
    text = description(card, "d" * 64, [verdict(code, text="long " * 100) for code in codes])
    assert len(text) <= DESCRIPTION_LIMIT
    places = [text.index(f"| {code} title of {code} | pass | {'long ' * 11}…") for code in codes]
    assert places == sorted(places, reverse=True)
    assert "| old | table |" not in text
    assert text.index("# flights") > max(places)
    assert "## Inputs" in text
    assert CELL == 56


@pytest.mark.unit
def test_a_runs_card_is_whole_and_has_every_gate_once():
    """Nothing is cut: the run is where a rejected bundle is looked up."""
    card = "---\nname: x\n---\n\n# flights\n\nAs of today.\n\n## Gates\n\n| old | table |\n\n## Inputs\n\nx\n"
    text = whole_card(card, [verdict("G10", text="long " * 100), verdict("G03", text="y")])
    head, gates_table, inputs = text.split("\n## ")
    assert head == "# flights\n\nAs of today.\n"
    assert gates_table.index("| G03 title of G03 | pass | y |") < gates_table.index(
        "| G10 title of G10 | pass | "
    )
    assert "long " * 100 in gates_table
    assert inputs == "Inputs\n\nx\n"
    assert "| old | table |" not in text


@pytest.mark.unit
@pytest.mark.parametrize(
    ("words", "tag"),
    [
        (("pass", "fail"), "fail"),
        (("fail", "pass"), "fail"),
        (("pass", "not applicable"), "not applicable"),
        (("pass", "pass"), "pass"),
    ],
)
def test_a_gate_that_run_and_world_judge_has_the_graver_tag(words, tag):
    """A used-up held-out period is not hidden by one without overlap, nor the other way round."""
    assert tags([verdict("G15", word) for word in words]) == {"gate.G15": tag}
