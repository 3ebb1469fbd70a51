"""What a cluster, its pods or another person refuse is one sentence, and nothing is overwritten."""

import pytest

from contract.errors import ConfigError, FlightlineError
from pipelines.delivery.kubernetes import backend as backends
from pipelines.delivery.kubernetes import kubectl
from pipelines.delivery.kubernetes.kubectl import ConflictError, OwnedError
from tests.pipelines.delivery.kubernetes.conftest import Place, told

pytestmark = pytest.mark.kubectl

HEAD = "flightline-desired"


def quiet(_: str) -> None:
    """Say nothing."""


@pytest.fixture
def serving(place: Place) -> Place:
    """Production, where version 1 answers."""
    place.backend.ensure(quiet)
    place.backend.converge(place.wanted("1"))
    return place


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ({"unpullable": True}, "the image of loader cannot be pulled .manifest unknown"),
        ({"full": True}, "no node takes a pod .*Insufficient cpu"),
        ({"late": True}, "timed out waiting for the condition"),
    ],
)
def test_pods_that_do_not_come_up_are_a_refusal_with_their_reason(serving: Place, fault, sentence) -> None:
    """What ran before serves on, and going back to it takes no new pods."""
    serving.cluster.faults(**fault)
    with pytest.raises(FlightlineError, match=f"production refused generation 2: .*{sentence}"):
        serving.backend.converge(serving.wanted("2"))
    assert serving.cluster.served()[-1] == {"toy": "1"}
    assert not serving.backend.intact(serving.wanted("1"))
    serving.cluster.faults()
    serving.backend.converge(serving.wanted("1"))
    assert serving.backend.intact(serving.wanted("1"))


@pytest.mark.slow
def test_a_tampered_release_is_refused_by_the_loader_and_its_sentence_arrives(serving: Place) -> None:
    """The storage is trusted by nobody (R6)."""
    serving.cluster.configure(loading=True)
    path = serving.settings.releases / serving.digests["2"] / "bundle" / "golden.json"
    path.write_text(path.read_text() + " ")
    with pytest.raises(FlightlineError, match=r"refused generation 2: loader: .*golden\.json"):
        serving.backend.converge(serving.wanted("2"))
    assert serving.cluster.served() == [{"toy": "1"}]


@pytest.mark.slow
def test_a_release_that_is_nowhere_is_refused_before_any_pod_is(place: Place) -> None:
    """Neither kept here nor in the storage."""
    backend = place.backend
    backend.ensure(quiet)
    (place.settings.releases / place.digests["1"]).rename(place.settings.releases / "away")
    with pytest.raises(FlightlineError, match="is not here, nor"):
        backend.converge(place.wanted("1"))
    assert not backend.running()


@pytest.mark.slow
def test_somebody_who_writes_first_is_not_overwritten(serving: Place) -> None:
    """A change that leaves the champions alone is built upon; the writer retries on fresh facts."""
    serving.cluster.faults(interfere=[{}, {}])
    assert serving.backend.converge(serving.wanted("2")) == 2
    replaced = [call for call in serving.cluster.calls() if call[0] == "replace"]
    assert len(replaced) == 3


def test_another_champion_meanwhile_is_one_clear_sentence(serving: Place) -> None:
    """Whoever comes second must decide again, on what is live by then."""
    serving.backend.desire(serving.wanted("2"))
    other = serving.cluster.one(f"configmap/{HEAD}")["data"]
    serving.backend.converge(serving.wanted("1"))
    serving.cluster.faults(interfere=[other])
    with pytest.raises(
        ConflictError, match=r"changed by somebody else at the same moment.*one change at a time"
    ):
        serving.backend.converge(serving.wanted("1"))
    assert told(serving)["models"]["toy"]["default"] == "2"  # type: ignore[index]


@pytest.mark.slow
def test_a_writer_that_never_gets_through_gives_up(serving: Place) -> None:
    """After a few tries, with the same sentence."""
    serving.cluster.faults(interfere=[{}] * backends.TRIES)
    with pytest.raises(ConflictError):
        serving.backend.converge(serving.wanted("2"))


@pytest.mark.slow
def test_a_field_that_a_person_has_set_is_named_with_its_owner(serving: Place) -> None:
    """Server-side apply takes nothing from anybody."""
    path = '.spec.template.spec.containers[name="server"].resources.limits.memory'
    serving.cluster.set("deployment/flightline", path, "4Gi", "kubectl-edit")
    with pytest.raises(OwnedError, match=r"resources\.limits\.memory in .* was set by 'kubectl-edit'"):
        serving.backend.converge(serving.wanted("2"))
    assert serving.cluster.served() == [{"toy": "1"}]


@pytest.mark.slow
def test_an_autoscaler_owns_the_replicas(serving: Place) -> None:
    """What it has set is neither touched nor in the way."""
    serving.cluster.set("deployment/flightline", ".spec.replicas", 9, "kube-controller-manager")
    serving.backend.converge(serving.wanted("2"))
    assert serving.cluster.one("deployment/flightline")["spec"]["replicas"] == 9


def test_a_cluster_that_does_not_answer_is_a_sentence(place: Place) -> None:
    """Nothing was changed, and the sentence says where to look."""
    place.cluster.faults(unreachable=True)
    with pytest.raises(FlightlineError, match="flightline-production of test-cluster cannot be reached"):
        place.backend.desired()


@pytest.mark.slow
def test_a_cluster_that_hangs_is_left_after_a_while(place: Place, monkeypatch) -> None:
    """Every call has a limit."""
    place.cluster.faults(hang=True)
    monkeypatch.setattr(kubectl, "CALL_S", 0.5)
    with pytest.raises(FlightlineError, match="kubectl get did not end within"):
        place.backend.desired()


@pytest.mark.slow
def test_a_missing_right_is_a_sentence(place: Place) -> None:
    """It names the right and where the rights are written down."""
    place.cluster.configure(rules=[])
    with pytest.raises(FlightlineError, match=r"cannot get resource.*infra/kubernetes/access"):
        place.backend.desired()


@pytest.mark.slow
def test_every_right_of_the_role_is_used(place: Place) -> None:
    """Least privilege: a rule that a deployment does without is one too many."""
    rules = [
        {"apiGroups": rule["apiGroups"], "resources": [resource], "verbs": [verb]}
        for rule in place.cluster.config()["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    ]
    place.cluster.configure(rules=rules)
    backend = place.backend
    backend.ensure(quiet)
    for version in ("1", "2"):
        backend.converge(place.wanted(version))
    backend.metrics()
    place.cluster.faults(full=True)
    with pytest.raises(FlightlineError):
        backend.converge(place.wanted("1"))
    place.cluster.faults()
    backend.stop()
    used = place.cluster.used()
    unused = [rule for rule in rules if [rule["resources"][0], rule["verbs"][0]] not in used]
    assert unused == [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["delete"]}], "when copies go"


def test_the_placeholder_image_is_refused(place: Place) -> None:
    """Before anything is applied."""
    place.cluster.edit("production", "a" * 64, "0" * 64)
    with pytest.raises(ConfigError, match="expected an image pinned by its digest"):
        place.backend.ensure(quiet)
    assert place.cluster.objects() == {}


def test_an_invalid_manifest_reaches_nobody(place: Place) -> None:
    """The cluster refuses it, and its sentence arrives."""
    place.cluster.edit(
        "production", "path: /spec/minReplicas, value: 4", "path: /spec/minReplicas, value: four"
    )
    with pytest.raises(FlightlineError, match="error validating data"):
        place.backend.ensure(quiet)


def test_without_kubectl_the_sentence_says_so(place: Place, monkeypatch) -> None:
    """And names the other backend."""
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigError, match=r"kubectl is not installed.*backend local"):
        place.backend.desired()
