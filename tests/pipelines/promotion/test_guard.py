"""What does not qualify cannot be promoted in MLflow: the dialog says why, and the alias stays (D9)."""

import os
import shutil
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from mlflow import MlflowClient

from contract.errors import ConfigError, FlightlineError
from contract.locks import exclusive
from pipelines.delivery.registry import Version
from pipelines.machine.processes import Program, start_all, stop
from pipelines.promotion.guard import WAITING, guard
from tests.pipelines.delivery.conftest import free_ports, quiet, settings_in
from tests.pipelines.promotion.conftest import AJAX, Place
from tests.pipelines.promotion.unqualified import UNQUALIFIED


@pytest.mark.parametrize(("make", "words"), UNQUALIFIED, ids=[make.__name__ for make, _ in UNQUALIFIED])
def test_a_version_that_does_not_qualify_is_refused(
    place: Place, make: Callable[[Place], Version], words: str
) -> None:
    """The answer that the dialog shows says why, and the alias has not moved."""
    version = make(place)
    before = place.registry.aliases(place.model)
    answer = place.put("champion", version.version)
    message = answer.json()["message"]
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert message.startswith("Nothing was changed: ")
    assert words in message
    assert place.registry.aliases(place.model) == before


def test_a_version_that_qualifies_is_promoted(place: Place) -> None:
    """The guard is in nobody's way, and what is live may always be named again."""
    version, before = place.version(), place.live
    assert before is not None
    assert place.put("champion", version.version).status_code == 200
    assert place.registry.aliases(place.model)["champion"] == version.version
    assert place.put("champion", before.version).status_code == 200
    assert place.registry.aliases(place.model)["champion"] == before.version


def test_the_version_before_may_be_named_again(place: Place) -> None:
    """That is a rollback by a click: it has served, and nothing about it need be shown again."""
    first, second = place.live, place.version()
    assert first is not None
    place.make_live(second)
    assert place.put("champion", first.version).status_code == 200
    place.make_live(place.registry.by_number(place.model, first.version), "rollback")


@pytest.mark.parametrize("alias", ["Champion", "CHAMPION", "\uff43hampion", "Staging", "cHallenger"])
def test_another_spelling_of_an_alias_that_counts_is_refused(place: Place, alias: str) -> None:
    """`Champion` would look right and deploy nothing."""
    answer = place.put(alias, "1")
    assert answer.status_code == 400
    assert "in exactly these letters" in answer.json()["message"]
    assert alias not in place.registry.aliases(place.model)


def test_the_champion_is_not_taken_away(place: Place) -> None:
    """Neither the alias, nor the version under it, nor the model, nor its name."""
    for method, path, body, words in (
        ("DELETE", "registered-models/alias", {"alias": "champion"}, "Move it to the version"),
        ("DELETE", "model-versions/delete", {"version": "1"}, "production runs version 1 of iris"),
        ("DELETE", "registered-models/delete", {}, "production runs version 1 of iris"),
        ("POST", "registered-models/rename", {"new_name": "other"}, "under this name"),
    ):
        answer = place.call(method, path, name=place.model, **body)
        assert answer.status_code == 400, path
        assert words in answer.json()["message"]
    assert place.registry.aliases(place.model)["champion"] == "1"


def test_a_copy_is_refused_and_points_at_the_alias(place: Place) -> None:
    """The button `Promote model` copies a version to another model: no evidence speaks of the copy."""
    place.registry.client.create_registered_model("iris-production")
    for body in (
        {"name": "iris-production", "source": "models:/iris/1"},
        {"name": "iris-production", "source": "models:/iris@champion"},
        {"name": "iris", "source": "models:/iris-production/1"},
    ):
        answer = place.call("POST", "model-versions/create", **body)
        assert answer.status_code == 400
        assert "add 'champion' to its aliases" in answer.json()["message"]
    assert place.registry.versions("iris-production") == []


def test_all_else_passes(place: Place) -> None:
    """Other aliases, other teams' models, prompts, reads and deletions are MLflow's own business."""
    client: MlflowClient = place.registry.client
    version = place.version(staged=False)
    assert place.put("shadow", version.version).status_code == 200
    assert place.call("DELETE", "registered-models/alias", name="iris", alias="shadow").status_code == 200
    assert (
        place.call("DELETE", "model-versions/delete", name="iris", version=version.version).status_code == 200
    )
    client.create_registered_model("theirs")
    source = f"{client.get_run(version.run_id).info.artifact_uri}/bundle"
    client.create_model_version("theirs", source, version.run_id, await_creation_for=0)
    for alias in ("champion", "Champion"):
        assert place.put(alias, "1", "theirs").status_code == 200
        answer = place.call("DELETE", "registered-models/alias", name="theirs", alias=alias)
        assert answer.status_code == 200
    assert place.call("DELETE", "registered-models/delete", name="theirs").status_code == 200
    client.register_prompt("greeting", "Hello {{ name }}")
    client.set_prompt_alias("greeting", "champion", 1)
    assert client.get_model_version_by_alias("iris", "champion").version == "1"
    assert place.call("POST", "registered-models/alias", name="iris").status_code == 400  # MLflow's own check


def broken_ledger(place: Place) -> Path:
    """A ledger whose chain is broken is no ground for anything."""
    path = place.settings.ledger
    path.write_bytes(path.read_bytes().replace(b"a reason", b"no reason"))
    return path


def no_trust(place: Place) -> Path:
    """Without the list of trusted keys nothing can be verified."""
    path = place.settings.trust
    path.unlink()
    return path


def no_store(place: Place) -> Path:
    """What keeps the releases is gone and something else has its name."""
    path = place.settings.releases
    shutil.rmtree(path)
    path.write_bytes(b"")
    return path


@pytest.mark.parametrize("damage", [broken_ledger, no_trust, no_store])
def test_a_guard_that_cannot_judge_refuses(
    place: Place, damage: Callable[[Place], Path], tmp_path: Path
) -> None:
    """Whatever fails in the check itself, the alias stays and a sentence says so."""
    version = place.version()
    kept = tmp_path / "kept"
    shutil.copytree(place.settings.var, kept, ignore=shutil.ignore_patterns("mlflow.db*", "mlartifacts"))
    path = damage(place)
    try:
        answer = place.put("champion", version.version)
    finally:
        path.unlink(missing_ok=True)
        original = kept / path.relative_to(place.settings.var)
        (shutil.copytree if original.is_dir() else shutil.copy2)(original, path)
    assert answer.status_code in {400, 503}
    assert answer.json()["message"].startswith("Nothing was changed: ")
    assert place.registry.aliases(place.model)["champion"] == "1"
    assert place.put("champion", "1").status_code == 200  # and afterwards it judges again


def test_the_later_of_two_promotions_is_judged_on_fresh_facts(place: Place) -> None:
    """It waits for the first decision; by then another champion is live, with which it was not compared."""
    second, third = place.version(), place.version()
    first = place.live
    assert first is not None
    with ThreadPoolExecutor(1) as pool:
        with exclusive(place.settings.var / "guard.lock", "test"):
            waiting = pool.submit(place.put, "champion", third.version)
            place.make_live(second)
            assert not waiting.done()
        answer = waiting.result(timeout=60)
    place.make_live(place.registry.by_number(place.model, first.version), "rollback")
    assert answer.status_code == 400
    assert (
        f"was compared with {first.digest[:12]}, but {second.digest[:12]} is live" in answer.json()["message"]
    )


def test_many_promotions_at_once_leave_the_server_able_to_answer(place: Place) -> None:
    """A few wait, the others are told to come again: a judgement asks the very server that it holds up."""
    version = place.version()
    answers: list[httpx.Response] = []
    arrived = threading.Semaphore(0)

    def click() -> None:
        answers.append(place.put("champion", version.version))
        arrived.release()

    with ThreadPoolExecutor(2 * WAITING) as pool:
        with exclusive(place.settings.var / "guard.lock", "test"):
            for _ in range(2 * WAITING):
                pool.submit(click)
            for _ in range(WAITING):
                assert arrived.acquire(timeout=15)
            assert {answer.status_code for answer in answers} == {503}
            assert "several promotions are being decided" in answers[0].json()["message"]
            assert place.registry.aliases(place.model)["champion"] == "1"
        for _ in range(WAITING):
            assert arrived.acquire(timeout=30)
    assert sorted(answer.status_code for answer in answers) == [200] * WAITING + [503] * WAITING
    assert place.put("champion", "1").status_code == 200


def test_an_mlflow_that_cannot_be_guarded_does_not_start(place: Place) -> None:
    """Without the handlers that it stands before, the guard would let everything pass."""
    with pytest.raises(ConfigError, match="no handler _set_registered_model_alias"):
        guard(SimpleNamespace(view_functions={}), place.settings)


def test_our_own_commands_read_the_refusal(place: Place) -> None:
    """It is a denial, which another try does not change, and not a server that does not answer."""
    version = place.version(staged=False)
    with pytest.raises(FlightlineError, match="did not pass staging") as refusal:
        place.registry.set_alias(place.model, "champion", version.version)
    assert type(refusal.value) is FlightlineError


@pytest.mark.slow
def test_a_shared_server_is_guarded_by_name(tmp_path: Path) -> None:
    """`mlflow server --app-name flightline`, without the project being installed as a package."""
    settings = settings_in(tmp_path / "var")
    (port,) = free_ports(1)
    shared = Program(
        name="shared",
        command=(
            *(sys.executable, "-m", "mlflow", "server", "--app-name", "flightline", "--workers", "1"),
            *("--host", "127.0.0.1", "--port", str(port)),
            *("--backend-store-uri", f"sqlite:///{tmp_path}/shared.db"),
            *("--artifacts-destination", str(tmp_path / "artifacts")),
        ),
        cwd=tmp_path,
        env={
            **settings.variables(),
            "FLIGHTLINE_MLFLOW_URL": f"http://127.0.0.1:{port}",
            "PYTHONPATH": f"{settings.checkout}{os.pathsep}{settings.checkout / 'infra' / 'mlflow'}",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        },
        port=port,
        port_variable="PORT",
        ready_path="/api/2.0/mlflow/registered-models/search",
    )
    address = f"http://127.0.0.1:{port}{AJAX}/registered-models"
    try:
        start_all([shared], tmp_path / "processes", tmp_path / "logs", quiet, deadline_s=240)
        with httpx.Client(trust_env=False, timeout=60) as client:
            assert client.post(f"{address}/create", json={"name": "iris"}).status_code == 200
            for alias, words in (
                ("Champion", "in exactly these letters"),
                ("champion", "iris has no version 1"),
            ):
                answer = client.post(
                    f"{address}/alias", json={"name": "iris", "alias": alias, "version": "1"}
                )
                assert answer.status_code == 400
                assert words in answer.json()["message"]
    finally:
        stop(tmp_path / "processes", "shared")
