"""Which backend an environment has, and where its cluster is, is read strictly (C8)."""

from pathlib import Path

import pytest

from contract.errors import ConfigError
from pipelines.delivery.backend import backend
from pipelines.delivery.kubernetes.backend import KubernetesBackend
from pipelines.delivery.kubernetes.kubectl import ConflictError, OwnedError, refusal
from pipelines.delivery.local_backend import LocalBackend
from pipelines.machine.environments import read_environments
from pipelines.machine.settings import ROOT, Settings

pytestmark = pytest.mark.unit

DECLARED = ROOT / "infra" / "environments.yaml"
GIVEN = {
    "FLIGHTLINE_PRODUCTION_BACKEND": "kubernetes",
    "FLIGHTLINE_PRODUCTION_CONTEXT": "prod",
    "FLIGHTLINE_PRODUCTION_URL": "https://flightline.example/",
    "FLIGHTLINE_PRODUCTION_RELEASES": "s3://models/releases",
}


def test_everything_is_local_by_default() -> None:
    """No cluster is needed, and none is asked."""
    settings = Settings.from_environment({})
    assert all(isinstance(backend(name, settings), LocalBackend) for name in settings.environments)


def test_a_setting_moves_one_environment_to_a_cluster() -> None:
    """Its context and namespace are named in every call; the other environments stay."""
    settings = Settings.from_environment(GIVEN)
    found = backend("production", settings)
    assert isinstance(found, KubernetesBackend)
    assert (found.kubectl.context, found.kubectl.namespace) == ("prod", "flightline-production")
    assert found.overlay == ROOT / "infra/kubernetes/overlays/production"
    assert found.url == settings.service_url("production") == "https://flightline.example"
    assert isinstance(backend("staging", settings), LocalBackend)


def test_a_started_process_is_given_the_same_cluster() -> None:
    """The relay and the reconciler deploy where a person does."""
    settings = Settings.from_environment({**GIVEN, "FLIGHTLINE_PRODUCTION_NAMESPACE": "flights"})
    again = Settings.from_environment(settings.variables())
    assert again.environments == settings.environments


@pytest.mark.parametrize("overlay", ["staging", "production"])
def test_the_declared_overlays_exist_and_have_the_declared_namespace(overlay: str) -> None:
    """A renamed folder is found here and not in production."""
    cluster = Settings.from_environment({}).environment(overlay).cluster
    assert cluster is not None
    text = (ROOT / "infra/kubernetes/overlays" / cluster.overlay / "kustomization.yaml").read_text()
    assert f"namespace: {cluster.namespace}\n" in text


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"BACKEND": "kubernets"}, "did you mean 'kubernetes'"),
        ({"CONTEXT": ""}, "the context of production is ''.*Set FLIGHTLINE_PRODUCTION_CONTEXT"),
        ({"URL": "flightline.example"}, "expected the http"),
        ({"RELEASES": "releases"}, "an absolute path, or a URI"),
        ({"NAMESPACE": "Flights"}, "lower case letters"),
        ({"CLOCK": "request"}, "the clock of production is 'request'"),
    ],
)
def test_a_cluster_that_cannot_be_meant_is_refused(change: dict[str, str], sentence: str) -> None:
    """Before anything is sent to any cluster."""
    variables = {**GIVEN, **{f"FLIGHTLINE_PRODUCTION_{name}": value for name, value in change.items()}}
    with pytest.raises(ConfigError, match=sentence):
        Settings.from_environment(variables)


def test_development_has_no_cluster() -> None:
    """It is this checkout."""
    with pytest.raises(ConfigError, match="development has the backend kubernetes and no cluster"):
        Settings.from_environment({"FLIGHTLINE_DEVELOPMENT_BACKEND": "kubernetes"})


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ("namespace: flightline-staging", "namspace: flightline-staging", "did you mean 'namespace'"),
        ("backend: local", "backend: loca", "environments.yaml"),
        ("deadline_s: 300", "deadline_s: 0", "deadline_s"),
    ],
)
def test_a_misspelt_cluster_is_refused(tmp_path: Path, before: str, after: str, sentence: str) -> None:
    """As every other key of the file is."""
    path = tmp_path / "environments.yaml"
    path.write_text(DECLARED.read_text().replace(before, after))
    with pytest.raises(ConfigError, match=sentence):
        read_environments(path, {})


def test_what_kubectl_says_becomes_a_sentence() -> None:
    """In the words of kubectl 1.32 and of the API server."""
    owned = refusal(
        'error: Apply failed with 2 conflicts: conflicts with "helm" using apps/v1:\n'
        "- .spec.template.spec.nodeName\n- .spec.paused\nPlease review the fields above",
        "here",
    )
    assert isinstance(owned, OwnedError)
    assert owned.found == ".spec.template.spec.nodeName, .spec.paused in here was set by 'helm'"
    for said in (
        "(Conflict): the object has been modified",
        '(AlreadyExists): configmaps "x" already exists',
    ):
        assert isinstance(refusal(f"Error from server {said}", "here"), ConflictError)
    assert "does not exist" in str(refusal('error: context "nope" does not exist', "here"))
    assert "cannot be reached" in str(
        refusal("Unable to connect to the server: dial tcp: i/o timeout", "here")
    )
    assert "did not say why" in str(refusal("", "here"))
