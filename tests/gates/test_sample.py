"""The sample that the other tests break: healthy it passes, so what they see is their own doing."""

import ast
from pathlib import Path

import pytest

from contract.errors import FlightlineError
from pipelines.gate import gate
from training.gates.policy import CODES
from training.gates.verdict import Evidence, not_applicable, settle


def test_the_healthy_sample_passes_every_gate(uncrowned):
    """With the repository's own policy, and nothing live, the sample is accepted: exit 0."""
    assert uncrowned.failed() == set()
    code, said = uncrowned.qualify()
    assert code == 0, said
    assert uncrowned.qualification().outcome == "accepted"


def test_an_accepted_bundle_gets_as_far_as_the_registry(uncrowned):
    """The refusals of the other tests are not simply MLflow being away: here it is MLflow."""
    uncrowned.qualify()
    with pytest.raises(FlightlineError, match="MLflow"):
        uncrowned.register()


def test_an_unqualified_bundle_is_not_registered(uncrowned):
    """Passing every cached gate is not enough: nobody compared it with the champion."""
    with pytest.raises(FlightlineError, match="was not qualified"):
        uncrowned.register()
    assert uncrowned.world() == {}


def test_changing_a_threshold_changes_the_verdict(workshop):
    """A gate reads its threshold from policy.yaml: a stricter one stops the same model."""
    workshop.change("policy.yaml", "gates.G01.min_fall", 0.99)
    workshop.rebuild(gate)
    assert workshop.failed() == {"G01"}
    workshop.must_stop("G01")


@pytest.mark.unit
def test_not_applicable_is_no_pass_where_the_policy_demands_the_gate():
    """The verdict becomes a failure that says why."""
    evidence = settle([not_applicable("G01", "no curve")], [])
    (verdict,) = evidence.failed()
    assert verdict.reason == "not applicable (no curve), which policy.yaml does not allow"


@pytest.mark.unit
def test_not_applicable_stays_itself_where_the_policy_allows_it():
    """It is shown as such, never as a pass."""
    evidence = settle(
        [not_applicable("G05", "no champion"), not_applicable("G01", "no curve")], ["G01", "G05"]
    )
    assert [(item.code, item.verdict) for item in evidence.verdicts] == [
        ("G01", "not applicable"),
        ("G05", "not applicable"),
    ]
    assert isinstance(evidence, Evidence)
    assert evidence.failed() == []


@pytest.mark.unit
@pytest.mark.parametrize("code", CODES)
def test_each_gate_has_a_mutation_that_runs_on_all_flights(code):
    """A test `at_full_size` in the file of the gate calls `must_stop`, itself or through a function."""
    (path,) = Path(__file__).parent.glob(f"test_{code}_*.py")
    functions = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
    stopping = {node.name for node in functions if f"must_stop('{code}'" in ast.unparse(node)}
    marked = [node for node in functions if "at_full_size" in map(ast.unparse, node.decorator_list)]
    called = {word.id for node in marked for word in ast.walk(node) if isinstance(word, ast.Name)}
    assert stopping & ({node.name for node in marked} | called)
