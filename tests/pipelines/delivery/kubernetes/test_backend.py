"""The kubernetes backend against a cluster that is a folder: what it writes, waits for, and refuses (C8)."""

import msgspec
import pytest

from pipelines.delivery.rollout_metrics import counted_together
from pipelines.delivery.services import begin_rollout
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


@pytest.mark.slow
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


@pytest.mark.slow
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


def test_a_rollout_that_was_cut_off_is_not_intact(place: Place) -> None:
    """Its champion is in place and a canary goes on beside it: the reconciler must find something to do."""
    backend = place.backend
    backend.ensure(quiet)
    one, two = place.wanted("1")["toy"], place.wanted("2")["toy"]
    begin_rollout("production", "toy", "2", place.settings)
    both = msgspec.structs.replace(one, versions={**one.versions, **two.versions}, split={"1": 90, "2": 10})
    backend.converge({"toy": both})
    assert not backend.intact({"toy": one})
    backend.converge({"toy": one})
    assert backend.intact({"toy": one})


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_nothing_wanted_means_no_pods(place: Place) -> None:
    """The way back of a first deployment."""
    backend = place.backend
    backend.ensure(quiet)
    backend.converge(place.wanted("1"))
    backend.converge({})
    assert not backend.running()
    assert backend.desired().models == {}  # type: ignore[union-attr]


@pytest.mark.slow
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


@pytest.mark.slow
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
