"""The gates of a real training run, each by name: `pytest tests/gates -k G03`."""

from pathlib import Path

import pytest

from contract.bundle import open_bundle
from pipelines.building.artifacts import Artifacts, read_json
from pipelines.building.config import policy
from pipelines.building.repro import repro
from pipelines.delivery.judging import AGAINST_CHAMPION, JUDGES, OF_THE_RUN, OF_THE_WORLD, Case
from pipelines.machine.settings import Settings
from training import model as models
from training.gates.policy import GatePolicy
from training.gates.verdict import TITLES, Evidence, Verdict

pytestmark = pytest.mark.lengthy

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def built() -> Path:
    """The artifacts of this checkout, up to date: what did not change is not built again."""
    repro(None, ROOT)
    return ROOT / "artifacts"


def limits(model: str) -> GatePolicy:
    """The model's gates in the repository's own policy."""
    return policy(model, "gates", GatePolicy, ROOT / "policy.yaml")


def found(model: str, code: str, built: Path, var: Path) -> list[Verdict]:
    """The verdicts on the real bundle; of the world also with itself as champion."""
    folder = Artifacts.of(model, built)
    bundle = open_bundle(folder.bundle)
    verdicts: list[Verdict] = []
    if code in OF_THE_RUN:
        evidence = read_json(folder.bundle / "evidence.json", Evidence)
        verdicts += [verdict for verdict in evidence.verdicts if verdict.code == code]
    if code in OF_THE_WORLD:
        settings = Settings.from_environment({"FLIGHTLINE_VAR": str(var)})
        champions = (None, bundle) if code in AGAINST_CHAMPION else (None,)
        cases = (Case(bundle, champion, folder, limits(model), settings) for champion in champions)
        verdicts += [JUDGES[code](case) for case in cases]
    return verdicts


@pytest.mark.parametrize(
    ("model", "code"),
    [pytest.param(model, code, id=f"{model}-{code}") for model in models.names() for code in TITLES],
)
def test_gate(model, code, built, tmp_path):
    """The gate passes, or does not apply where policy.yaml allows that."""
    verdicts = found(model, code, built, tmp_path)
    assert verdicts, f"the evidence of {model} has no verdict of {code}"
    for verdict in verdicts:
        allowed = {"pass"} | ({"not applicable"} if code in limits(model).may_not_apply else set())
        assert verdict.verdict in allowed, (
            f"{code} {verdict.title}: {verdict.verdict}; found {verdict.value}, "
            f"threshold {verdict.threshold}: {verdict.reason}"
        )


@pytest.mark.parametrize("model", models.names())
def test_a_bundle_is_not_worse_than_itself(model, built, tmp_path):
    """G05 with the model as its own champion finds a difference of nothing and passes."""
    _, itself = found(model, "G05", built, tmp_path)
    assert (itself.verdict, itself.value) == ("pass", "+0.0000 [+0.0000, +0.0000]")


@pytest.mark.unit
@pytest.mark.parametrize("model", models.names())
def test_every_gate_of_the_policy_is_shown(model):
    """No gate of policy.yaml is left out of the run above."""
    declared = set(GatePolicy.__struct_fields__) - {"may_not_apply"}
    assert declared == set(TITLES)
    assert set(limits(model).may_not_apply) <= declared
