"""Several versions of several models: who answers, what is refused, what is unloaded (S5, S6)."""

import gc
import weakref
from typing import Any

import msgspec
import numpy as np
import pytest

from contract.strict import encode_json
from serving.models import changes
from serving.models.desired import read_desired, write_desired
from serving.models.predictor import Predictor
from serving.models.versions import NotServedError
from tests.serving.models.several import ROW, Service

pytestmark = pytest.mark.unit


def test_a_loaded_version_answers_who_names_it_and_nobody_else(service) -> None:
    """Loading changes nothing for callers."""
    second = service.load("2")
    assert service.ask().json()["version"] == "1"
    named = service.ask("?version=2").json()
    assert (named["version"], named["digest"]) == ("2", second.digest)
    assert service.ask("?model=toy&version=1").json()["version"] == "1"


def test_the_version_may_be_named_for_batches_and_contracts(service) -> None:
    """All routes that take a model take its version."""
    second = service.load("2")
    batch = service.host.client.post("/predict_batch?version=2", {"rows": [ROW]})
    assert batch.json()["version"] == "2"
    contract = service.host.client.get("/models/toy/contract?version=2")
    assert contract.headers["X-Model-Digest"] == second.digest
    assert service.host.client.get("/models/toy/contract").headers["X-Model-Version"] == "1"


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("?version=9", 404, "there is no version '9' of toy; known are 1"),
        ("?version=", 404, "there is no version '' of toy"),
        ("?version=1&version=1", 422, "'version' is given more than once"),
        ("?verson=1", 422, "did you mean 'version'"),
        ("?model=tyo&version=1", 404, "did you mean 'toy'"),
    ],
)
def test_a_wrong_name_is_refused_in_words(service, query, status, words) -> None:
    """Never the default instead of what was asked for."""
    answer = service.ask(query)
    assert answer.status_code == status
    assert words in answer.json()["error"]


def test_the_split_decides_by_the_request_id(service) -> None:
    """Half of the ids go to each, and an id always the same way, also in another process's snapshot."""
    service.load("2")
    service.change("set_split", {"1": 50, "2": 50})
    first = {str(number): service.ask(request_id=str(number)).json()["version"] for number in range(100)}
    assert {"1", "2"} == set(first.values())
    for number, version in first.items():
        assert service.host.versions.current.choose("toy", None, number).version == version
    service.change("set_split", {})
    assert {service.ask(request_id=number).json()["version"] for number in first} == {"1"}


def test_several_models_have_several_versions_each(service) -> None:
    """Each with its own default and split; one draw has nothing to do with another's."""
    service.load("2")
    for version, seed in (("1", 7), ("2", 8)):
        release = service.build(model="other", seed=seed)
        before = read_desired(service.host.settings.state)
        after = changes.load(before, "other", version, str(release.path), release.digest)
        after = msgspec.structs.replace(after, generation=before.generation + 1)
        write_desired(service.host.settings.state, after)
        service.host.versions.poll()
    service.change("set_split", {"1": 50, "2": 50})
    before = read_desired(service.host.settings.state)
    after = changes.set_split(before, "other", {"1": 50, "2": 50})
    write_desired(service.host.settings.state, msgspec.structs.replace(after, generation=99))
    service.host.versions.poll()
    pairs = {
        (
            service.ask("?model=toy", str(number)).json()["version"],
            service.ask("?model=other", str(number)).json()["version"],
        )
        for number in range(60)
    }
    assert pairs == {("1", "1"), ("1", "2"), ("2", "1"), ("2", "2")}
    assert service.ask("?model=other&version=2").json()["model"] == "other"
    assert service.ask().json()["model"] == "toy"


def test_a_claimed_route_follows_the_split(make_host, make_bundle) -> None:
    """`/predict/label` is a request that names no version, like any other."""
    host = make_host()
    toy = make_bundle().contract
    contract = msgspec.structs.replace(toy, features=toy.numbers, routes=("/predict/label",))
    host.serve(make_bundle(contract=contract))
    service = Service(host, make_bundle)
    service.load("2", make_bundle(contract=contract, seed=2))
    service.change("set_split", {"2": 100})
    answer = host.client.post("/predict/label", {"data": [[1, 2]]})
    assert (answer.status_code, answer.headers["X-Model-Version"]) == (200, "2")


def test_a_route_is_taken_by_every_version_that_claims_it(service, make_bundle) -> None:
    """Also by one that answers nobody yet: it may become the default, and then needs it (R8)."""
    toy = make_bundle().contract
    claim = ("/predict/label",)
    service.load("2", make_bundle(contract=msgspec.structs.replace(toy, routes=claim), seed=2))
    other = make_bundle(contract=msgspec.structs.replace(toy, model="other", routes=claim))
    state = changes.load(
        read_desired(service.host.settings.state), "other", "1", str(other.path), other.digest
    )
    write_desired(service.host.settings.state, msgspec.structs.replace(state, generation=9))
    service.host.versions.poll()
    assert "/predict/label, which toy has" in service.refused["other@1"]
    service.change("make_default", "2")
    answer = service.host.client.post("/predict/label", {"data": [[1.5, 0.25, "A"]]})
    assert (answer.status_code, answer.headers["X-Model"]) == (200, "toy")
    assert list(service.refused) == ["other@1"]


def test_a_new_default_answers_at_once_and_back(service) -> None:
    """The way back needs no loading: what was loaded stays as it is."""
    service.load("2")
    served = dict(service.host.versions.current.loaded["toy"].versions)
    for version in ("2", "1"):
        service.change("make_default", version)
        assert service.ask().json()["version"] == version
        assert dict(service.host.versions.current.loaded["toy"].versions) == served


def test_an_unloaded_version_answers_nobody(service) -> None:
    """It is forgotten, but for requests that hold it."""
    service.load("2")
    service.change("make_default", "2")
    held = service.host.versions.current.choose("toy", None, "in flight")
    old = service.host.versions.current.choose("toy", "1", "in flight")
    service.change("unload", "1")
    assert service.ask("?version=1").status_code == 404
    with pytest.raises(NotServedError, match="known are 2"):
        service.host.versions.current.choose("toy", "1", "later")
    numbers, words = np.zeros((1, 2), np.float32), np.array([["A"]], dtype=object)
    assert len(old.predictor.predict(numbers, words)[0]) == 1  # who holds it finishes with it
    assert held.version == "2"


def test_what_nobody_holds_any_more_leaves_the_memory(service) -> None:
    """An unloaded version's graph is let go of."""
    service.load("2")
    gone = weakref.ref(service.host.versions.current.loaded["toy"].versions["2"].predictor)
    service.change("unload", "2")
    gc.collect()
    assert gone() is None


def test_the_old_version_is_let_go_only_when_the_new_one_is_loaded_and_warm(service, monkeypatch) -> None:
    """At the moment of loading the old one still answers, and golden rows have gone through the new one."""
    seen: list[str] = []
    runs: dict[str, int] = {}
    predict, load = Predictor.predict, Predictor.load

    def counted(self: Predictor, *arrays: Any) -> Any:
        runs[self.version] = runs.get(self.version, 0) + 1
        return predict(self, *arrays)

    def loading(*arguments: Any, **options: Any) -> Predictor:
        found = load(*arguments, **options)
        seen.append(service.ask().json()["version"])
        return found

    monkeypatch.setattr(Predictor, "predict", counted)
    monkeypatch.setattr(Predictor, "load", loading)
    service.host.serve(service.build(seed=2), version="2")
    assert seen == ["1"]
    golden = len(service.host.versions.current.models["toy"].predictor.bundle.golden.rows)
    assert runs["2"] == 1 + golden  # all at once to compare, each alone to warm
    assert service.ask().json()["version"] == "2"


def test_the_models_page_says_who_answers_what(service) -> None:
    """An operator sees versions, split and mirror where models are listed."""
    service.load("2")
    service.load("3")
    service.change("set_split", {"1": 95, "2": 5})
    service.change("set_mirror", {"3": 20})
    model = service.host.client.get("/models").json()["models"]["toy"]
    assert model["versions"] == service.releases
    assert (model["split"], model["mirror"]) == ({"1": 95, "2": 5}, {"3": 20})


def test_the_older_form_of_the_file_is_refused_with_what_to_do(host) -> None:
    """Nobody guesses what a file of another form means."""
    old = {
        "generation": 9,
        "default": "toy",
        "models": {"toy": {"version": "1", "release": "/r", "digest": "d" * 64}},
    }
    (host.settings.state / "desired.json").write_bytes(encode_json(old))
    host.versions.poll()
    assert "has the older form, in which 'toy' is one version" in host.versions.reason
    assert "deploy again" in host.versions.reason
    assert host.client.post("/predict", {"row": ROW}).status_code == 200
