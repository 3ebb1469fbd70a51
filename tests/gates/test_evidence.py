"""Qualification believes the evidence in a bundle only where it judges every gate of the present policy."""

import msgspec
import pytest

from contract.bundle import seal
from pipelines.building.artifacts import read_json, write_json
from pipelines.delivery.judging import IN_BOTH, JUDGES, OF_THE_RUN, OF_THE_WORLD
from pipelines.gate import gate
from training.gates.policy import CODES
from training.gates.verdict import TITLES, Evidence, audited, judge, not_applicable
from training.models.flights import CONTRACT


def passed(*codes: str) -> Evidence:
    """Evidence in which each of the gates passed."""
    return Evidence(tuple(judge(code, "1", "1", [], "fine") for code in codes))


def rewrite(workshop, change) -> None:
    """Put changed evidence into the bundle, sealed as if it had been built that way."""
    path = workshop.artifacts.bundle / "evidence.json"
    write_json(path, change(read_json(path, Evidence)))
    seal(workshop.artifacts.bundle, CONTRACT)


@pytest.mark.unit
def test_every_gate_belongs_to_the_run_or_to_the_world():
    """Nothing is judged by nobody, and only the fresh period, whose counter is no part of a run, by both."""
    assert {*OF_THE_RUN, *OF_THE_WORLD} == set(CODES)
    assert set(OF_THE_RUN) & set(OF_THE_WORLD) <= set(IN_BOTH)
    assert set(JUDGES) == set(OF_THE_WORLD)
    assert set(CODES) == set(TITLES)


@pytest.mark.unit
def test_complete_evidence_is_what_it_was():
    """An audit adds nothing where nothing is missing."""
    whole = passed("G01", "G03")
    assert audited(whole, ("G01", "G03"), ()) == whole


@pytest.mark.unit
@pytest.mark.parametrize(
    ("evidence", "code", "word"),
    [
        (passed("G01"), "G03", "holds no verdict of it"),
        (passed("G01", "G03", "G05"), "G05", "no such gate"),
        (passed("G01", "G03", "G03"), "G03", "judges it 2 times"),
        (Evidence((*passed("G01").verdicts, not_applicable("G03", "nothing"))), "G03", "does not allow"),
    ],
)
def test_what_is_wrong_with_evidence_is_a_failure_of_that_gate(evidence, code, word):
    """Missing, unknown, twice, or not applicable where that is no longer allowed."""
    failed = audited(evidence, ("G01", "G03"), ()).failed()
    assert {item.code for item in failed} == {code}
    assert word in failed[0].reason


@pytest.mark.unit
def test_a_gate_of_no_known_title_fails_as_unknown():
    """Evidence of a later release of this repository, say."""
    (verdict,) = msgspec.structs.replace(passed("G01")).verdicts
    foreign = Evidence((msgspec.structs.replace(verdict, code="G99"),))
    assert [(item.code, item.title) for item in audited(foreign, (), ()).failed()] == [
        ("G99", "an unknown gate")
    ]


def test_emptied_evidence_is_stopped(workshop):
    """No verdict at all is no pass of everything."""
    rewrite(workshop, lambda found: Evidence((), found.metrics))
    workshop.must_stop("G01")
    assert [reason[:3] for reason in workshop.qualification().reasons] == list(OF_THE_RUN)


def test_a_dropped_verdict_is_stopped(workshop):
    """One gate left out of the evidence."""
    rewrite(
        workshop,
        lambda found: Evidence(tuple(v for v in found.verdicts if v.code != "G09"), found.metrics),
    )
    workshop.must_stop("G09")


def test_what_the_present_policy_no_longer_exempts_is_stopped(workshop):
    """Built while G01 was exempt; the policy has changed, and the bundle has not been built again."""
    rewrite(
        workshop,
        lambda found: Evidence(
            tuple(not_applicable("G01", "no curve") if v.code == "G01" else v for v in found.verdicts),
            found.metrics,
        ),
    )
    workshop.must_stop("G01")
    workshop.change("policy.yaml", "gates.may_not_apply", ["G01", "G05"])
    assert workshop.qualify()[0] == 0


def test_an_unmeasured_metric_does_not_stop_the_judgement(workshop):
    """NaN is null in JSON; the evidence is read, and the gate that failed is named."""
    workshop.change("policy.yaml", "gates.G03", [{"metric": "roc_auc", "min": 0.99}])
    workshop.rebuild(gate)
    rewrite(workshop, lambda found: Evidence(found.verdicts, {**found.metrics, "roc_auc": float("nan")}))
    assert b"null" in (workshop.artifacts.bundle / "evidence.json").read_bytes()
    workshop.must_stop("G03")
