"""`python -m pipelines.versions` shows and changes what a running service has (S5)."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from contract.errors import FlightlineError
from pipelines import versions
from pipelines.delivery.next_state import champions
from pipelines.delivery.services import desire
from pipelines.machine.settings import Settings
from serving.admin.server import ADDRESS, Admin
from serving.models.desired import Desired, DesiredModel, read_desired, write_desired
from serving.models.versions import Versions
from serving.settings import Settings as ServiceSettings
from tests.pipelines.delivery.conftest import World


@dataclass
class Staging:
    """What stands for the staging service: versions that follow the state folder, and the admin API."""

    settings: Settings
    build: Any
    first: Any
    capsys: Any

    def kept(self, seed: int) -> Any:
        """A release among those that this machine keeps."""
        release = self.build(seed=seed)
        self.settings.releases.mkdir(parents=True, exist_ok=True)
        shutil.copytree(release.path, self.settings.releases / release.digest)
        return release

    def run(self, *words: str) -> Any:
        """The command with `--json`; what it printed."""
        assert versions.main([*words, "--json"]) == 0
        return json.loads(self.capsys.readouterr().out)


@pytest.fixture
def staging(tmp_path, make_bundle, monkeypatch, capsys) -> Iterator[Staging]:
    """Staging with `toy` in version 1."""
    monkeypatch.setenv("FLIGHTLINE_VAR", str(tmp_path / "var"))
    settings = Settings.from_environment()
    release = make_bundle()
    state = settings.state("staging")
    settings.keys.mkdir(parents=True)
    settings.trust.write_bytes(release.trust_file.read_bytes())
    model = DesiredModel.of("1", str(release.path), release.digest)
    write_desired(state, Desired(generation=1, default="toy", models={"toy": model}))
    told = {"FLIGHTLINE_STATE": str(state), "FLIGHTLINE_TRUST": str(settings.trust)}
    service, admin = Versions(ServiceSettings.from_environment(told)), Admin(state, 0)
    admin.start()
    service.start()
    try:
        yield Staging(settings, make_bundle, release, capsys)
    finally:
        admin.close()
        service.close()


def test_a_canary_a_shadow_and_the_way_to_the_default(staging) -> None:
    """Each command comes back when the worker has acted on it."""
    release = staging.kept(2)
    assert staging.run("load", "toy", "2", "--digest", release.digest)["changed"] is True
    assert staging.run("mirror", "toy", "2=100")["model"]["mirror"] == {"2": 100}
    assert staging.run("mirror", "toy")["model"]["mirror"] == {}
    assert staging.run("split", "toy", "1=95", "2=5")["model"]["split"] == {"1": 95, "2": 5}
    assert staging.run("default", "toy", "2")["model"]["default"] == "2"
    assert staging.run("unload", "toy", "1")["generation"] == 7
    found = staging.run("list")
    assert list(found["models"]["toy"]["versions"]) == ["2"]
    (ack,) = found["workers"].values()
    assert ack["served"] == {"toy": release.digest}


def test_the_table_is_for_people(staging) -> None:
    """Who answers what, by version; what each worker has come to."""
    release = staging.kept(2)
    staging.run("load", "toy", "2", "--digest", release.digest)
    staging.run("split", "toy", "1=95", "2=5")
    assert versions.main(["--environment", "staging", "list"]) == 0
    printed = staging.capsys.readouterr().out
    assert "toy 1" in printed
    assert "default, 95 % of requests" in printed
    assert "5 % of requests" in printed
    assert "generation 3" in printed
    assert versions.main(["split", "toy"]) == 0
    assert "toy: generation 4 is served by 1 worker" in staging.capsys.readouterr().out
    assert versions.main(["split", "toy"]) == 0
    assert "was so already with 1 worker" in staging.capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["unload", "toy", "1"], "staging answers 409: version 1 of toy is the default"),
        (["default", "toy", "9"], "staging answers 404: there is no version '9'"),
        (["split", "toy", "1=50"], "sums to 50 percent"),
        (["split", "toy", "1"], "'1' is no share; expected VERSION=PERCENT"),
        (["load", "toy", "2"], "the release is not named"),
        (["load", "toy", "2", "--digest", "a", "--release", "b"], "the release is not named"),
        (["load", "toy", "2", "--digest", "0" * 64], "the manifest attestation"),
        (["--environment", "stagng", "list"], "did you mean 'staging'"),
        (["--environment", "production", "list"], "production has no admin API"),
    ],
)
def test_a_wrong_word_is_one_sentence(staging, words, sentence) -> None:
    """From the service or from the command itself, and nothing changed."""
    before = read_desired(staging.settings.state("staging"))
    with pytest.raises(FlightlineError, match=sentence.replace("'", ".")):
        versions.main(words)
    assert read_desired(staging.settings.state("staging")) == before


def test_a_service_that_is_gone_is_said_to_be(staging) -> None:
    """Its address stays when it is killed."""
    address = staging.settings.state("staging") / ADDRESS
    address.write_text('{"port": 1}')
    with pytest.raises(FlightlineError, match="the admin API of staging does not answer"):
        versions.main(["list"])


def test_the_token_is_read_from_the_state_folder_alone(staging) -> None:
    """Without the file nobody gets in."""
    (staging.settings.state("staging") / "admin-token").unlink()
    with pytest.raises(FlightlineError, match="the token of a running admin API"):
        versions.main(["list"])


def test_a_deployment_of_another_model_keeps_a_canary(staging) -> None:
    """What a rollout of one model has set is nothing to another's; a new champion of the model ends it."""
    release = staging.kept(2)
    staging.run("load", "toy", "2", "--digest", release.digest)
    staging.run("split", "toy", "1=95", "2=5")
    state = staging.settings.state("staging")
    toy = DesiredModel.of("1", str(staging.first.path), staging.first.digest)
    other = DesiredModel.of("1", "/release", "a" * 64)
    desire("staging", {"toy": toy, "other": other}, staging.settings)
    models = read_desired(state).models
    assert models["toy"].split == {"1": 95, "2": 5}
    assert models["other"] == other
    champion = DesiredModel.of("2", str(release.path), release.digest)
    desire("staging", {"toy": champion}, staging.settings)
    assert read_desired(state).models == {"toy": champion}
    assert champions({"toy": champion}) == {"toy": ("2", str(release.path), release.digest)}


@pytest.mark.slow
def test_what_was_tried_by_hand_ends_with_the_next_reconciliation(world: World) -> None:
    """Production has the champion of the ledger; a canary is nobody's business, another default is."""
    first = world.promote("hand")
    second = world.stage("hand", seed=1)
    release = world.settings.releases / second.digest
    url = world.settings.service_url("production")

    def call(method: str, path: str, body: Any = None) -> Any:
        return versions.call("production", world.settings, method, f"/models/hand/{path}", body)

    call("PUT", f"versions/{second.version}", {"release": str(release), "digest": second.digest})
    call("PUT", "split", {"split": {first.version: 50, second.version: 50}})
    named = httpx.get(f"{url}/models/hand/contract", params={"version": second.version}, trust_env=False)
    assert named.headers["X-Model-Digest"] == second.digest
    assert "*" not in world.reconcile()
    call("PUT", "default", {"version": second.version})
    assert world.serves("production", "hand") == second.version
    assert world.reconcile()["*"] == "repaired"
    assert world.serves("production", "hand") == first.version
