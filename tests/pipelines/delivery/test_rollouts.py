"""A version takes over from the champion step by step, and goes back when a step does not hold."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from contract.errors import ConfigError, FlightlineError
from pipelines import ledger
from pipelines.delivery import placement, rollout_decision
from pipelines.delivery.evidence import NOTICE
from pipelines.delivery.placement import VersionRefusedError
from pipelines.delivery.registry import CHAMPION, REFUSED
from pipelines.delivery.rollout_policy import Step, read_rollout
from pipelines.delivery.services import unfinished
from pipelines.delivery.trail import refusal
from pipelines.deploy import deploy_production
from pipelines.machine.settings import Settings
from pipelines.promote import main, promote
from serving.models.desired import read_desired
from tests.pipelines.delivery import graphs
from tests.pipelines.delivery.conftest import QUICK, World, quiet

STRICT = read_rollout("iris", Settings.from_environment({}))
shares = rollout_decision._shares


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


@pytest.fixture
def strictly(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have toys rolled out as the models of this repository are, but for what is said otherwise."""

    def set_policy(**changes: object) -> None:
        policy = msgspec.structs.replace(STRICT, **changes)
        monkeypatch.setattr(placement, "read_rollout", lambda *_: policy)

    set_policy()
    return set_policy


def is_as_it_was(world: World, model: str, refused: str, words: str) -> None:
    """Version 1 serves alone; ledger, alias and the sentence on version `refused` agree about that."""
    desired = read_desired(world.settings.state("production"))
    assert desired is not None
    found = desired.models[model]
    assert (found.default, set(found.versions), found.split, found.mirror) == ("1", {"1"}, {}, {})
    assert world.serves("production", model) == world.champion(model) == "1"
    assert not unfinished("production", world.settings)
    entries = ledger.read(world.settings.ledger)
    placed = ledger.live(entries, "production", model)
    assert placed is not None
    assert placed.version == "1"
    assert (entries[-1].action, entries[-1].model, entries[-1].after.version) == ("refused", model, refused)
    version = world.registry.by_number(model, refused)
    assert re.search(words, version.tags[REFUSED]), version.tags[REFUSED]
    above, _, card = version.description.partition("\n\n")
    assert above.startswith(NOTICE)
    assert re.search(words, above), above
    assert card.startswith("**Bundle**")
    assert re.search(words, entries[-1].why), entries[-1].why


BROKEN = {
    "cannot answer": (graphs.hasty, "shadow 100 %: roll back: .* could not be answered"),
    "slow": (graphs.heavy, "shadow 100 %: roll back: .* took over 20 ms"),
    "disagrees": (lambda _: {"seed": 1}, "shadow 100 %: roll back: .* were labelled differently"),
}


@pytest.mark.parametrize("defect", sorted(BROKEN))
@pytest.mark.usefixtures("strictly")
def test_a_version_outside_policy_goes_back_by_itself(world: World, defect: str) -> None:
    """What staging could not see a shadow shows: no caller was answered by it, and the alias is back."""
    model, (make, words) = f"broken-{defect.replace(' ', '-')}", BROKEN[defect]
    world.promote(model)
    second = world.stage(model, **make(model))
    world.registry.set_alias(model, CHAMPION, second.version)
    with pytest.raises(VersionRefusedError, match=words) as refusal:
        deploy_production(model, world.settings, say=quiet)
    assert refusal.value.steps[-1].verdict == "roll back"
    is_as_it_was(world, model, second.version, words)


@pytest.mark.slow
def test_a_canary_that_fails_callers_goes_back(world: World, strictly: Callable[..., None]) -> None:
    """Where the mirror asks too little to notice, the callers' part is small, and short."""
    strictly(shadow=Step(percent=100, requests=1, longest_s=10), failed=0.001)
    world.promote("failing-canary")
    second = world.stage("failing-canary", **graphs.hasty("failing-canary"))
    with pytest.MonkeyPatch.context() as patch:
        # As if nobody had asked the shadow for a tall row.
        patch.setattr(rollout_decision, "_shares", only_of_a_canary)
        with pytest.raises(VersionRefusedError, match=r"canary 10 %: roll back: .* could not be answered"):
            promote("failing-canary", world.settings, second.version, say=quiet)
    is_as_it_was(world, "failing-canary", second.version, "canary 10 %: roll back")


def only_of_a_canary(kind: rollout_decision.Kind, *more: Any) -> Iterator[Any]:
    """The signals of a canary; a shadow has none."""
    yield from shares(kind, *more) if kind == "canary" else ()


@pytest.mark.slow
def test_too_little_traffic_never_promotes(world: World, strictly: Callable[..., None]) -> None:
    """Without callers and without probes nothing is known, and nothing changes."""
    strictly(probes=0, shadow=Step(percent=100, requests=50, longest_s=0.5))
    world.promote("unasked")
    second = world.stage("unasked", **graphs.alike("unasked"))
    with pytest.raises(VersionRefusedError, match=r"inconclusive: 0 of 50 rows compared within 0\.5 s"):
        promote("unasked", world.settings, say=quiet)
    is_as_it_was(world, "unasked", second.version, "inconclusive")


@pytest.mark.slow
def test_probes_are_no_callers(world: World, strictly: Callable[..., None]) -> None:
    """A policy that wants callers does not take the deployer's word for them."""
    strictly(callers=10, shadow=Step(percent=100, requests=20, longest_s=1))
    world.promote("alone")
    second = world.stage("alone", **graphs.alike("alone"))
    with pytest.raises(VersionRefusedError, match="0 of 10 rows compared for callers"):
        promote("alone", world.settings, say=quiet)
    is_as_it_was(world, "alone", second.version, "inconclusive")


@pytest.mark.slow
@pytest.mark.usefixtures("strictly")
def test_what_was_refused_is_tried_again_only_by_a_person(world: World) -> None:
    """The reconciler gives the alias back without asking the service; `again` tries, and ends the matter."""
    world.promote("blocked")
    second = world.stage("blocked", seed=1)
    for _ in range(2):
        before = len(ledger.read(world.settings.ledger))
        world.registry.set_alias("blocked", CHAMPION, second.version)
        assert world.reconcile()["blocked"] == "refused"
        assert world.champion("blocked") == world.serves("production", "blocked") == "1"
    assert len(ledger.read(world.settings.ledger)) == before  # the second time nothing was tried
    with pytest.raises(VersionRefusedError, match=r"was refused .*--again --actor WHO --why REASON"):
        promote("blocked", world.settings, second.version, say=quiet)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(placement, "read_rollout", lambda *_: QUICK)
        deployed = promote(
            "blocked", world.settings, "2", actor="ada", why="it may differ", again=True, say=quiet
        )
    assert deployed.version == world.serves("production", "blocked") == "2"
    taken = world.registry.by_number("blocked", "2")
    assert REFUSED not in taken.tags
    assert taken.description.startswith("**Bundle**")
    entries = ledger.read(world.settings.ledger)
    assert refusal(entries, "production", "blocked", deployed.digest) is None


@pytest.mark.slow
@pytest.mark.usefixtures("strictly")
def test_a_version_that_agrees_takes_over_under_the_shipped_policy(world: World) -> None:
    """The limits that refuse the others let a sound version through."""
    world.promote("agreeing")
    world.stage("agreeing", **graphs.alike("agreeing"))
    deployed = promote("agreeing", world.settings, actor="ada", say=quiet)
    assert [step.verdict for step in deployed.steps] == ["proceed"] * 4
    assert world.serves("production", "agreeing") == "2"


@pytest.mark.slow
@pytest.mark.usefixtures("strictly")
def test_a_program_reads_what_each_step_saw(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a version that was taken and of one that was refused alike; again needs who and why."""
    world.promote("inform")
    world.stage("inform", seed=1)
    monkeypatch.setattr(Settings, "from_environment", lambda *_: world.settings)
    capsys.readouterr()
    with pytest.raises(VersionRefusedError):
        main(["inform", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert [step["step"] for step in told["steps"]] == ["golden answers", "shadow 100 %"]
    assert told["steps"][-1]["verdict"] == "roll back"
    assert "labelled differently" in told["refused"]
    with pytest.raises(ConfigError, match="--again is given without --actor or --why"):
        main(["inform", "--json", "--again", "--actor", "ada"])
    monkeypatch.setattr(placement, "read_rollout", lambda *_: QUICK)
    assert main(["inform", "--json", "--again", "--actor", "ada", "--why", "it may differ"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [step["verdict"] for step in told["steps"]] == ["proceed"] * 3
    assert told["steps"][1]["compared"] >= 20
    assert told["steps"][1]["p99_ms"] > 0


@pytest.mark.slow
def test_a_second_promotion_waits_and_decides_on_what_is_live_by_then(world: World) -> None:
    """Both were compared with version 1: once version 2 is live, version 3 is not judged by it."""
    world.promote("twice")
    world.stage("twice", seed=1)
    world.stage("twice", seed=2)
    ended: dict[str, str] = {}

    def carry_out(version: str) -> None:
        try:
            promote("twice", world.settings, version, say=quiet)
            ended[version] = "live"
        except FlightlineError as error:
            ended[version] = str(error)

    world.registry.models()  # imports the client, so that both get on
    both = [threading.Thread(target=carry_out, args=(version,)) for version in ("2", "3")]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join(120)
    (first,) = [version for version, word in ended.items() if word == "live"]
    assert world.serves("production", "twice") == world.champion("twice") == first
    other = ended["3" if first == "2" else "2"]
    assert "was compared with" in other
    assert "is live" in other


@pytest.mark.slow
def test_a_champion_damaged_on_disk_is_no_fault_of_the_version(world: World) -> None:
    """It still answers from memory; the probes ask golden rows, and the version takes over."""
    first = world.promote("mothbitten")
    world.stage("mothbitten", seed=1)
    card = world.settings.releases / first.digest / "bundle" / "model_card.md"
    card.write_text("# another\n")
    said: list[str] = []
    deployed = promote("mothbitten", world.settings, actor="ada", say=said.append)
    assert deployed.version == world.serves("production", "mothbitten") == "2"
    assert any("probes ask golden rows alone" in line for line in said)
