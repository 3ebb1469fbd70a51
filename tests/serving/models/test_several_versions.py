"""Several versions of several models: who answers, what is refused, what is unloaded (S5, S6)."""

import gc
import shutil
import weakref
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contract.bundle import MANIFEST, Golden, seal
from contract.strict import encode_json
from serving.models import changes
from serving.models.desired import DesiredModel, read_acks, read_desired, write_desired
from serving.models.predictor import Predictor
from serving.models.versions import NotServedError

pytestmark = pytest.mark.unit

ROW = {"width": 1.5, "height": 0.25, "letter": "A"}


class Service:
    """A host, and changes of what it is to serve."""

    def __init__(self, host: Any, build: Any) -> None:
        """Keep both; the host serves version 1 of `toy`, or nothing."""
        self.host, self.build = host, build
        self.releases = {"1": host.wanted["toy"].digest} if host.wanted else {}

    def change(self, name: str, *arguments: Any, **named: Any) -> None:
        """Make one of `changes`, and let the host act on it."""
        before = read_desired(self.host.settings.state)
        after = getattr(changes, name)(before, "toy", *arguments, **named)
        write_desired(
            self.host.settings.state, msgspec.structs.replace(after, generation=before.generation + 1)
        )
        self.host.versions.poll()

    def load(self, version: str, release: Any = None, **named: Any) -> Any:
        """Load a release, by default another training of `toy`."""
        release = release or self.build(seed=int(version))
        self.releases[version] = release.digest
        self.change("load", version, str(release.path), release.digest, **named)
        return release

    def ask(self, query: str = "", request_id: str = "one") -> Any:
        """One prediction."""
        return self.host.client.post(f"/predict{query}", {"row": ROW}, **{"X-Request-Id": request_id})

    def exchange(self, version: str, release: Any) -> None:
        """Desire `release` in the place of all others."""
        before = read_desired(self.host.settings.state)
        model = DesiredModel.of(version, str(release.path), release.digest)
        after = msgspec.structs.replace(before, generation=before.generation + 1, models={"toy": model})
        write_desired(self.host.settings.state, after)
        self.host.versions.poll()

    @property
    def refused(self) -> dict[str, str]:
        """What the worker's acknowledgement says of refusals."""
        return read_acks(self.host.settings.state)[self.host.versions.worker].refused


@pytest.fixture
def service(host, make_bundle) -> Service:
    """A service with version 1."""
    return Service(host, make_bundle)


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


def truncated(build: Any) -> Any:
    """Half of the graph."""
    release = build(seed=2)
    graph = release.bundle / "model.onnx"
    graph.write_bytes(graph.read_bytes()[: graph.stat().st_size // 2])
    return release


def truncated_and_sealed(build: Any) -> Any:
    """Half of the graph, signed as if it were whole: what a broken export leaves."""
    good = build(seed=2)
    graph = (good.bundle / "model.onnx").read_bytes()
    golden = msgspec.json.decode((good.bundle / "golden.json").read_bytes(), type=Golden)
    return build(graph=graph[: len(graph) // 2], golden=golden)


def wrong_signature(build: Any) -> Any:
    """Signed by somebody else."""
    return build(seed=2, key=Ed25519PrivateKey.generate())


def wrong_digest(build: Any) -> Any:
    """The files of another bundle, sealed anew behind the signature's back."""
    release, other = build(seed=2), build(seed=3)
    shutil.copy(other.bundle / "model.onnx", release.bundle / "model.onnx")
    (release.bundle / MANIFEST).unlink()
    seal(release.bundle, release.contract)
    return release


def nan_outputs(build: Any) -> Any:
    """Its scores are NaN."""
    base = build(seed=2)
    graph = onnx.load(base.bundle / "model.onnx")
    for node in graph.graph.node:
        node.output[:] = ["soft" if name == "scores" else name for name in node.output]
        node.input[:] = ["soft" if name == "scores" else name for name in node.input]
    graph.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(np.nan), "nan"))
    graph.graph.node.append(onnx.helper.make_node("Mul", ["soft", "nan"], ["scores"]))
    golden = msgspec.json.decode((base.bundle / "golden.json").read_bytes(), type=Golden)
    return build(graph=graph.SerializeToString(), golden=golden)


def missing_file(build: Any) -> Any:
    """Without its golden answers."""
    release = build(seed=2)
    (release.bundle / "golden.json").unlink()
    return release


def older_contract(build: Any) -> Any:
    """It does not know a feature that callers send."""
    release = build(seed=2)
    narrow = msgspec.structs.replace(release.contract, features=release.contract.features[::2])
    return build(contract=narrow, seed=2)


def no_release(build: Any) -> Any:
    """The folder has gone."""
    release = build(seed=2)
    shutil.rmtree(release.path)
    return release


BAD = [
    pytest.param(truncated, "changed model.onnx", id="truncated"),
    pytest.param(truncated_and_sealed, "cannot load the graph", id="truncated-but-sealed"),
    pytest.param(wrong_signature, "expected a trusted trainer key", id="wrong-signature"),
    pytest.param(wrong_digest, "has digest", id="wrong-digest"),
    pytest.param(nan_outputs, "expected finite scores", id="nan-outputs"),
    pytest.param(missing_file, "lacks golden.json", id="missing-file"),
    pytest.param(
        older_contract, "older contract than version 1, which answers: it lacks", id="older-contract"
    ),
    pytest.param(no_release, "cannot be read", id="no-release"),
]


@pytest.mark.parametrize(("make", "words"), BAD)
@pytest.mark.parametrize("how", ["beside", "instead"])
def test_a_bad_bundle_is_refused_and_the_champion_answers_on(service, make, words, how) -> None:
    """Loaded beside the champion or in its place: a sentence, and not one answer changes (R3)."""
    before = service.ask().json()
    (service.load if how == "beside" else service.exchange)("2", make(service.build))
    assert words in service.refused["toy@2"]
    assert service.ask().json() == before
    assert service.ask("?version=2").status_code == 404
    assert service.host.versions.ready


def test_an_older_contract_may_be_allowed(service) -> None:
    """Going back to a version that knows less is somebody's decision."""
    narrow = older_contract(service.build)
    service.load("2", narrow, older_contract=True)
    assert service.refused == {}
    service.change("make_default", "2")
    assert "older contract" in service.refused["toy@2"]  # each step of it
    assert service.ask().json()["version"] == "1"
    service.change("make_default", "2", older_contract=True)
    answer = service.host.client.post("/predict", {"row": {"width": 1.5, "letter": "A"}})
    assert answer.json()["version"] == "2"


def test_a_worker_that_starts_serves_what_others_were_told_to(make_host, make_bundle) -> None:
    """Older versions beside the champion are no reason to refuse where nobody is served yet."""
    service = Service(make_host(), make_bundle)
    narrow, wide = older_contract(make_bundle), make_bundle(seed=3)
    state = changes.load(changes.EMPTY, "toy", "2", str(wide.path), wide.digest)
    state = changes.load(state, "toy", "1", str(narrow.path), narrow.digest)
    service.host.settings.trust.write_bytes(wide.trust_file.read_bytes())
    write_desired(service.host.settings.state, msgspec.structs.replace(state, generation=4))
    service.host.versions.poll()
    assert service.refused == {}
    assert sorted(service.host.versions.current.loaded["toy"].versions) == ["1", "2"]


def test_a_refused_canary_leaves_its_share_to_the_default(service) -> None:
    """And the service is ready: the champion answers everything."""
    bad = truncated(service.build)
    state = read_desired(service.host.settings.state)
    state = changes.load(state, "toy", "2", str(bad.path), bad.digest)
    state = changes.set_split(state, "toy", {"1": 10, "2": 90})
    write_desired(service.host.settings.state, msgspec.structs.replace(state, generation=2))
    service.host.versions.poll()
    assert {service.ask(request_id=str(number)).json()["version"] for number in range(30)} == {"1"}


def test_a_version_under_a_known_name_with_a_bad_bundle_leaves_its_predecessor(service) -> None:
    """The name goes on meaning what it meant."""
    service.load("2")
    kept = service.releases["2"]
    bad = missing_file(service.build)
    state = read_desired(service.host.settings.state)
    model = state.models["toy"]
    wanted = msgspec.structs.replace(model.versions["2"], release=str(bad.path), digest=bad.digest)
    model = msgspec.structs.replace(model, versions={**model.versions, "2": wanted})
    after = msgspec.structs.replace(state, generation=9, models={"toy": model})
    write_desired(service.host.settings.state, after)
    service.host.versions.poll()
    assert "lacks golden.json" in service.refused["toy@2"]
    assert service.ask("?version=2").json()["digest"] == kept


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
