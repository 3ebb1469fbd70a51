"""The service converges on the desired state, and never on less than a verified model."""

import msgspec
import pytest

from contract.attestation import Trust, TrustedKey
from contract.strict import encode_json
from serving.models.desired import Desired, DesiredModel, read_acks, write_desired
from serving.models.predictor import Predictor

pytestmark = pytest.mark.unit

ROW = {"width": 1.5, "height": 0.25, "letter": "A"}


def ack(host):
    """The acknowledgement of the only worker."""
    return read_acks(host.settings.state)[host.versions.worker]


def test_a_loaded_model_is_acknowledged(host) -> None:
    """The acknowledgement names the generation and the digest that answers."""
    assert host.versions.ready
    assert ack(host).generation == 1
    assert ack(host).served == {"toy": host.wanted["toy"].digest}
    assert ack(host).refused == {}


def test_a_service_is_not_ready_before_its_models_are(make_host, make_bundle) -> None:
    """Without a desired state, or with one that cannot be served, it says so and stays unready."""
    host = make_host()
    host.versions.poll()
    assert not host.versions.ready
    release = make_bundle()
    (release.bundle / "golden.json").write_bytes(b"{}")
    host.serve(release)
    assert not host.versions.ready
    assert "changed golden.json" in ack(host).refused["toy@1"]


def test_a_new_version_takes_over(host, make_bundle) -> None:
    """After the acknowledgement every answer comes from the new version."""
    second = make_bundle(seed=2)
    host.serve(second, version="2")
    assert host.client.post("/predict", {"row": ROW}).json()["digest"] == second.digest
    assert ack(host).served == {"toy": second.digest}


def test_a_refused_version_leaves_the_old_one_answering(host, make_bundle) -> None:
    """A tampered challenger changes nothing: the champion answers, and the acknowledgement says why."""
    champion = host.wanted["toy"].digest
    challenger = make_bundle(seed=2)
    with (challenger.bundle / "model.onnx").open("ab") as file:
        file.write(b"x")
    host.serve(challenger, version="2")
    assert host.client.post("/predict", {"row": ROW}).json()["digest"] == champion
    assert host.versions.ready
    assert ack(host).generation == 2
    assert ack(host).served == {"toy": champion}
    assert "changed model.onnx" in ack(host).refused["toy@2"]
    host.serve(make_bundle(seed=3), version="3")
    assert ack(host).refused == {}


def test_a_model_that_is_no_longer_desired_is_unloaded(host, make_bundle) -> None:
    """What is not desired does not answer."""
    host.serve(make_bundle(model="other"))
    del host.wanted["toy"]
    host.serve(make_bundle(model="other", seed=4), version="2")
    assert host.client.post("/predict?model=toy", {"row": ROW}).status_code == 404
    assert list(ack(host).served) == ["other"]


def test_an_unchanged_model_is_not_loaded_again(host, make_bundle) -> None:
    """A new generation touches only what changed."""
    before = host.versions.current.models["toy"]
    host.serve(make_bundle(model="other"))
    assert host.versions.current.models["toy"] is before


def test_a_release_of_another_model_is_refused(host, make_bundle) -> None:
    """A name in the desired state is the name in the contract."""
    release = make_bundle(model="other")
    wanted = {"toy": DesiredModel.of("2", str(release.path), release.digest)}
    write_desired(host.settings.state, Desired(generation=2, default="toy", models=wanted))
    host.versions.poll()
    assert "holds 'other'" in ack(host).refused["toy@2"]


def test_a_route_belongs_to_who_has_it(make_host, make_bundle) -> None:
    """Of two contracts that claim one route, the newly arriving is refused, whatever its name."""
    host = make_host()
    toy = make_bundle().contract
    claim = {"features": toy.numbers, "routes": ("/predict/label",)}
    host.serve(make_bundle(contract=msgspec.structs.replace(toy, model="second", **claim)))
    host.serve(make_bundle(contract=msgspec.structs.replace(toy, model="first", **claim)))
    assert "/predict/label, which second has" in ack(host).refused["first@1"]
    assert host.client.post("/predict/label", {"data": [[1, 2]]}).headers["X-Model"] == "second"


@pytest.mark.parametrize("route", ["/status", "/predict", "/predict/", "/predict_batch"])
def test_a_route_of_the_service_cannot_be_claimed(make_host, make_bundle, route) -> None:
    """Claims lie below /predict/."""
    host = make_host()
    contract = msgspec.structs.replace(make_bundle().contract, routes=(route,))
    host.serve(make_bundle(contract=contract))
    assert "a route below /predict/" in ack(host).refused["toy@1"]


def test_an_older_generation_is_ignored(host, make_bundle) -> None:
    """A late writer cannot turn the service back."""
    champion = make_bundle(seed=2)
    host.serve(champion, version="2")
    host.generation = 0
    host.serve(make_bundle(seed=3), version="3")
    assert host.versions.current.models["toy"].predictor.bundle.digest == champion.digest
    assert "older than 2" in host.versions.reason


def test_a_corrupt_desired_state_changes_nothing(host) -> None:
    """The old state keeps being served and the reason is readable; a corrected file is acted on."""
    (host.settings.state / "desired.json").write_text("{")
    host.versions.poll()
    assert host.client.post("/predict", {"row": ROW}).status_code == 200
    assert "desired.json is not JSON" in host.client.get("/status").json()["reason"]


def test_a_trust_list_that_arrives_late_is_found(make_host, make_bundle) -> None:
    """What is missing is looked for again."""
    host, release = make_host(), make_bundle()
    wanted = {"toy": DesiredModel.of("1", str(release.path), release.digest)}
    write_desired(host.settings.state, Desired(generation=1, default="toy", models=wanted))
    host.versions.poll()
    assert "trust list" in host.versions.reason
    host.settings.trust.write_bytes(release.trust_file.read_bytes())
    host.versions.poll()
    assert host.versions.ready


def test_closing_takes_the_acknowledgement_back(host) -> None:
    """Who no longer serves does not say so."""
    host.versions.close()
    assert read_acks(host.settings.state) == {}


def test_an_unforeseen_failure_refuses_the_model_only(host, make_bundle, caplog, monkeypatch) -> None:
    """Whatever a release does to the verifier, the champion answers on and the log has the trace."""

    def load(*_: object, **__: object) -> Predictor:
        raise ValueError("nobody thought of this")

    monkeypatch.setattr(Predictor, "load", load)
    host.serve(make_bundle(seed=2), version="2")
    assert "failed to load (ValueError: nobody thought of this)" in ack(host).refused["toy@2"]
    assert "loading toy version 2 failed" in caplog.text
    assert host.client.post("/predict", {"row": ROW}).status_code == 200


def test_a_trust_list_with_a_broken_key_is_named(host, make_bundle) -> None:
    """The sentence says which key, and the champion answers on."""
    release = make_bundle(seed=2)
    broken = Trust(keys=(TrustedKey(role="trainer", public="AAAA"),))
    release.trust_file.write_bytes(encode_json(broken))
    host.serve(release, version="2")
    assert "'AAAA' as a trainer key" in ack(host).refused["toy@2"]
    assert host.client.post("/predict", {"row": ROW}).status_code == 200
