"""The kubernetes backend against a cluster that is a folder: what it writes, waits for, and refuses (C8)."""

import msgspec
import pytest

from contract.errors import ConfigError, FlightlineError
from pipelines.delivery.kubernetes import backend as backends
from pipelines.delivery.kubernetes import kubectl
from pipelines.delivery.kubernetes.kubectl import ConflictError, OwnedError
from pipelines.delivery.rollout_metrics import counted_together
from tests.pipelines.delivery.kubernetes.conftest import Place, told

pytestmark = pytest.mark.kubectl

HEAD = "flightline-desired"


def quiet(_: str) -> None:
    """Say nothing."""


def test_a_first_model_comes_to_an_empty_namespace(place: Place) -> None:
    """The overlay is applied, the release published, the pods awaited; then everything agrees."""
    place.cluster.configure(loading=True)
    backend = place.backend
    assert backend.desired() is None
    assert not backend.running()
    backend.ensure(quiet)
    assert not backend.running(), "a server without a model helps nobody"
    assert backend.lacking(0) == "no model is deployed yet"
    assert backend.converge(place.wanted("1")) == 1
    assert backend.running()
    assert backend.ready()
    assert backend.intact(place.wanted("1"))
    assert not backend.intact(place.wanted("2"))
    assert backend.lacking(0) == ""
    assert place.cluster.served() == [{"toy": "1"}]
    kinds = {name.split("/")[1] for name in place.cluster.objects()}
    assert {
        "deployment",
        "service",
        "horizontalpodautoscaler",
        "poddisruptionbudget",
        "networkpolicy",
    } <= kinds


def test_the_desired_state_is_numbered_and_kept_twice(place: Place) -> None:
    """The head has the newest generation; what a pod is told never changes and is named by its content."""
    backend = place.backend
    backend.ensure(quiet)
    assert [backend.converge(place.wanted(version)) for version in ("1", "2", "1")] == [1, 2, 3]
    assert told(place)["generation"] == 3
    assert place.cluster.one(f"configmap/{HEAD}")["metadata"]["annotations"] == {"flightline/generation": "3"}
    copies = [
        item for name, item in place.cluster.objects().items() if "/configmap/flightline-models-" in name
    ]
    assert len(copies) == 2, "the way back has found the first one again"
    assert all(item["immutable"] for item in copies)
    sets = [name for name in place.cluster.objects() if "/replicaset/" in name]
    assert len(sets) == 2, "and with it the pods' template: a cluster scales up what it still has"


def test_a_release_is_named_here_as_it_lies_here(place: Place) -> None:
    """On the cluster it is below /releases; who asks the backend never sees that."""
    backend = place.backend
    backend.ensure(quiet)
    backend.converge(place.wanted("1"))
    desired = backend.desired()
    assert desired is not None
    assert desired.models == place.wanted("1")
    model = msgspec.convert(told(place)["models"], dict[str, dict[str, object]])["toy"]
    assert model["versions"] == {
        "1": {"release": f"/releases/{place.digests['1']}", "digest": place.digests["1"]}
    }


def test_other_versions_of_a_model_stay_with_its_champion(place: Place) -> None:
    """As they do on this machine: a split set by hand outlives the deployment of another model."""
    backend = place.backend
    backend.ensure(quiet)
    one, two = place.wanted("1")["toy"], place.wanted("2")["toy"]
    both = msgspec.structs.replace(one, versions={**one.versions, **two.versions}, split={"1": 90, "2": 10})
    backend.converge({"toy": both})
    assert backend.intact({"toy": both}), "whole numbers come back as 90.0, and name the same copy"
    backend.converge({"toy": one})
    desired = backend.desired()
    assert desired is not None
    assert desired.models["toy"] == both
    backend.converge({"toy": one}, exact=("toy",))
    desired = backend.desired()
    assert desired is not None
    assert desired.models["toy"] == one


def test_every_pod_that_is_ready_is_asked_what_it_counts(place: Place) -> None:
    """One URL leads to one of them at a time, so that its counters alone would say nothing."""
    backend = place.backend
    backend.ensure(quiet)
    backend.converge(place.wanted("1"))
    place.cluster.configure(metrics='flightline_failed_requests_total{model="toy",version="1"} 3\n')
    place.cluster.add_pod("another", ready=True)
    place.cluster.add_pod("starting", ready=False)
    texts = backend.metrics()
    assert len(texts) == 2
    (found,) = counted_together(texts, "toy", ("1",))
    assert found.failed == 6


def test_stopping_takes_the_pods_and_leaves_the_state(place: Place) -> None:
    """`ensure` brings them back."""
    backend = place.backend
    backend.ensure(quiet)
    backend.converge(place.wanted("1"))
    assert backend.stop()
    assert not backend.stop()
    assert not backend.running()
    assert not backend.intact(place.wanted("1"))
    assert backend.desire(place.wanted("2")) == 2
    assert not backend.running()
    backend.ensure(quiet)
    backend.converge(place.wanted("2"))
    assert backend.intact(place.wanted("2"))


def test_nothing_wanted_means_no_pods(place: Place) -> None:
    """The way back of a first deployment."""
    backend = place.backend
    backend.ensure(quiet)
    backend.converge(place.wanted("1"))
    backend.converge({})
    assert not backend.running()
    assert backend.desired().models == {}  # type: ignore[union-attr]


def test_a_copy_that_no_way_back_leads_to_is_removed(place: Place) -> None:
    """As many stay as there are replica sets."""
    place.cluster.edit(
        "production",
        "patches:",
        "patches:\n  - target: { kind: Deployment }\n    patch: |\n"
        "      - { op: replace, path: /spec/revisionHistoryLimit, value: 0 }",
    )
    backend = place.backend
    backend.ensure(quiet)
    for version in ("1", "2"):
        backend.converge(place.wanted(version))
    copies = [name for name in place.cluster.objects() if "/configmap/flightline-models-" in name]
    assert copies == [f"flightline-production/configmap/{backend._copy_of(backend.desired())}"]


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ({"unpullable": True}, "the image of loader cannot be pulled .manifest unknown"),
        ({"full": True}, "no node takes a pod .*Insufficient cpu"),
        ({"late": True}, "timed out waiting for the condition"),
    ],
)
def test_pods_that_do_not_come_up_are_a_refusal_with_their_reason(place: Place, fault, sentence) -> None:
    """What ran before serves on, and going back to it takes no new pods."""
    backend = place.backend
    backend.ensure(quiet)
    backend.converge(place.wanted("1"))
    place.cluster.faults(**fault)
    with pytest.raises(FlightlineError, match=f"production refused generation 2: .*{sentence}"):
        backend.converge(place.wanted("2"))
    assert place.cluster.served()[-1] == {"toy": "1"}
    assert not backend.intact(place.wanted("1"))
    place.cluster.faults()
    backend.converge(place.wanted("1"))
    assert backend.intact(place.wanted("1"))


def test_a_tampered_release_is_refused_by_the_loader_and_its_sentence_arrives(place: Place) -> None:
    """The storage is trusted by nobody (R6)."""
    place.cluster.configure(loading=True)
    backend = place.backend
    backend.ensure(quiet)
    backend.converge(place.wanted("1"))
    path = place.settings.releases / place.digests["2"] / "bundle" / "golden.json"
    path.write_text(path.read_text() + " ")
    with pytest.raises(FlightlineError, match=r"refused generation 2: loader: .*golden\.json"):
        backend.converge(place.wanted("2"))
    assert place.cluster.served() == [{"toy": "1"}]


def test_a_release_that_is_nowhere_is_refused_before_any_pod_is(place: Place) -> None:
    """Neither kept here nor in the storage."""
    backend = place.backend
    backend.ensure(quiet)
    (place.settings.releases / place.digests["1"]).rename(place.settings.releases / "away")
    with pytest.raises(FlightlineError, match="is not here, nor"):
        backend.converge(place.wanted("1"))
    assert not backend.running()


def test_somebody_who_writes_first_is_not_overwritten(place: Place) -> None:
    """A change that leaves the champions alone is built upon; the writer retries on fresh facts."""
    backend = place.backend
    backend.ensure(quiet)
    backend.converge(place.wanted("1"))
    place.cluster.faults(interfere=[{}, {}])
    assert backend.converge(place.wanted("2")) == 2
    replaced = [call for call in place.cluster.calls() if call[0] == "replace"]
    assert len(replaced) == 3


def test_another_champion_meanwhile_is_one_clear_sentence(place: Place) -> None:
    """Whoever comes second must decide again, on what is live by then."""
    backend = place.backend
    backend.ensure(quiet)
    backend.converge(place.wanted("1"))
    backend.desire(place.wanted("2"))
    other = place.cluster.one(f"configmap/{HEAD}")["data"]
    backend.converge(place.wanted("1"))
    place.cluster.faults(interfere=[other])
    with pytest.raises(
        ConflictError, match=r"changed by somebody else at the same moment.*one change at a time"
    ):
        backend.converge(place.wanted("1"))
    assert told(place)["models"]["toy"]["default"] == "2"  # type: ignore[index]


def test_a_writer_that_never_gets_through_gives_up(place: Place) -> None:
    """After a few tries, with the same sentence."""
    backend = place.backend
    backend.ensure(quiet)
    backend.converge(place.wanted("1"))
    place.cluster.faults(interfere=[{}] * backends.TRIES)
    with pytest.raises(ConflictError):
        backend.converge(place.wanted("2"))


def test_a_field_that_a_person_has_set_is_named_with_its_owner(place: Place) -> None:
    """Server-side apply takes nothing from anybody."""
    backend = place.backend
    backend.ensure(quiet)
    backend.converge(place.wanted("1"))
    path = '.spec.template.spec.containers[name="server"].resources.limits.memory'
    place.cluster.set("deployment/flightline", path, "4Gi", "kubectl-edit")
    with pytest.raises(OwnedError, match=r"resources\.limits\.memory in .* was set by 'kubectl-edit'"):
        backend.converge(place.wanted("2"))
    assert place.cluster.served() == [{"toy": "1"}]


def test_an_autoscaler_owns_the_replicas(place: Place) -> None:
    """What it has set is neither touched nor in the way."""
    backend = place.backend
    backend.ensure(quiet)
    backend.converge(place.wanted("1"))
    place.cluster.set("deployment/flightline", ".spec.replicas", 9, "kube-controller-manager")
    backend.converge(place.wanted("2"))
    assert place.cluster.one("deployment/flightline")["spec"]["replicas"] == 9


def test_a_cluster_that_does_not_answer_is_a_sentence(place: Place) -> None:
    """Nothing was changed, and the sentence says where to look."""
    place.cluster.faults(unreachable=True)
    with pytest.raises(FlightlineError, match="flightline-production of test-cluster cannot be reached"):
        place.backend.desired()


def test_a_cluster_that_hangs_is_left_after_a_while(place: Place, monkeypatch) -> None:
    """Every call has a limit."""
    place.cluster.faults(hang=20)
    monkeypatch.setattr(kubectl, "CALL_S", 0.5)
    with pytest.raises(FlightlineError, match="kubectl get did not end within"):
        place.backend.desired()


def test_a_missing_right_is_a_sentence(place: Place) -> None:
    """It names the right and where the rights are written down."""
    place.cluster.configure(rules=[])
    with pytest.raises(FlightlineError, match=r"cannot get resource.*infra/kubernetes/access"):
        place.backend.desired()


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


def test_every_call_names_the_context_and_the_namespace(place: Place) -> None:
    """Never the current ones, which are whichever a person used last."""
    backend = place.backend
    backend.ensure(quiet)
    backend.converge(place.wanted("1"))
    lines = place.cluster.lines()
    assert lines
    for words in lines:
        assert "--context=test-cluster" in words
        assert "--namespace=flightline-production" in words


def test_the_verbs_of_a_deployment(place: Place) -> None:
    """What a cluster sees of it, in order."""
    backend = place.backend
    backend.ensure(quiet)
    done = len(place.cluster.calls())
    backend.converge(place.wanted("1"))
    verbs = [
        " ".join(word for word in call[:2] if not word.startswith("-"))
        for call in place.cluster.calls()[done:]
    ]
    assert verbs == [
        "get configmap",
        "create",
        "apply",
        "rollout status",
        "get deployment",
        "get replicasets",
        "get configmaps",
    ]
    apply = next(call for call in place.cluster.calls()[done:] if call[0] == "apply")
    assert "--server-side" in apply
    assert "--field-manager=flightline" in apply
