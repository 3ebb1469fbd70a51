"""A version takes over from the champion step by step, and goes back when a step does not hold."""

from pipelines import ledger
from pipelines.promote import promote
from serving.models.desired import read_desired
from tests.pipelines.delivery.conftest import World


def test_a_version_takes_over_step_by_step(world: World) -> None:
    """Asked by name, a shadow, a canary, then all; the answer of the command says what each step saw."""
    world.promote("stepwise")
    world.stage("stepwise", seed=1)
    said: list[str] = []
    deployed = promote("stepwise", world.settings, actor="ada", say=said.append)
    assert [step.step for step in deployed.steps] == ["golden answers", "shadow 100 %", "canary 25 %"]
    _, shadow, canary = deployed.steps
    assert shadow.probes >= 20
    assert shadow.answered >= 20
    assert canary.answered >= 20
    assert shadow.compared >= 20 <= canary.compared
    assert (shadow.failed, canary.failed) == (0, 0)
    assert any("ok   canary 25 %" in line for line in said)
    desired = read_desired(world.settings.state("production"))
    assert desired is not None
    model = desired.models["stepwise"]
    assert (set(model.versions), model.split, model.mirror) == ({"2"}, {}, {})
    assert world.serves("production", "stepwise") == world.champion("stepwise") == "2"


def test_a_cold_start_goes_to_all_at_once(world: World) -> None:
    """There is nobody to compare with; the golden answers and the suite are what there is."""
    staged = world.stage("coldstart")
    deployed = promote("coldstart", world.settings, actor="ada", say=lambda _: None)
    assert deployed.steps == ()
    assert world.serves("production", "coldstart") == staged.version
    (entry,) = ledger.history(ledger.read(world.settings.ledger), "production", "coldstart")
    assert entry.action == "deploy"
