"""How an environment on Kubernetes is reached: a part of `infra/environments.yaml`, moved by variables."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from contract.errors import ConfigError
from contract.strict import near_miss

Backend = Literal["local", "kubernetes"]
BACKENDS: tuple[Backend, ...] = ("local", "kubernetes")

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")  # RFC 1123
_PLACE = re.compile(r"[a-z][a-z0-9+.-]*://.+|/.+")


class Cluster(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where on which cluster, and how long to wait."""

    overlay: str  # folder of infra/kubernetes/overlays
    namespace: str
    context: str  # of the kubeconfig; never the current one, which is whichever a person used last
    url: str  # of the Service, as this machine reaches it
    releases: str  # storage that this machine writes and the pods read: a path, or a URI that fsspec knows
    deadline_s: Annotated[float, msgspec.Meta(gt=0)]  # for every pod to be ready; a rollout is undone then


def read_backend(variables: Mapping[str, str], name: str, declared: Backend) -> Backend:
    """The backend in `FLIGHTLINE_<NAME>_BACKEND`, or the declared one.

    Raises:
        ConfigError: it is none.
    """
    variable = f"FLIGHTLINE_{name.upper()}_BACKEND"
    text = variables.get(variable) or declared
    for backend in BACKENDS:
        if text == backend:
            return backend
    hint = near_miss(text, list(BACKENDS))
    raise ConfigError(f"{variable} is '{text}'{hint}", " or ".join(BACKENDS), "Correct or unset it")


def read_cluster(variables: Mapping[str, str], name: str, declared: Cluster | None) -> Cluster | None:
    """The declared cluster with `FLIGHTLINE_<NAME>_NAMESPACE`, `_CONTEXT`, `_URL` and `_RELEASES` applied."""
    if declared is None:
        return None
    given = {
        field: variables[variable]
        for field, variable in cluster_variables(name).items()
        if variables.get(variable)
    }
    return msgspec.structs.replace(declared, **given)


def cluster_variables(name: str) -> dict[str, str]:
    """The variables that move the cluster of `name`, by the field that each moves."""
    return {
        field: f"FLIGHTLINE_{name.upper()}_{field.upper()}"
        for field in ("namespace", "context", "url", "releases")
    }


def require_usable(name: str, cluster: Cluster | None, clock: str) -> Cluster:
    """The cluster, if it is told where it is: a guess could be somebody else's.

    Raises:
        ConfigError: something is missing or cannot be meant.
    """
    if cluster is None:
        raise ConfigError(
            f"{name} has the backend kubernetes and no cluster",
            "`cluster` in environments.yaml",
            f"Add it, or set FLIGHTLINE_{name.upper()}_BACKEND to local",
        )
    if clock != "wall":
        raise ConfigError(
            f"the clock of {name} is '{clock}'",
            "wall on kubernetes, whose manifests say so",
            f"Unset FLIGHTLINE_CLOCK and FLIGHTLINE_{name.upper()}_CLOCK",
        )
    variables = cluster_variables(name)
    rules = (
        ("namespace", _LABEL.fullmatch(cluster.namespace), "lower case letters, digits and dashes"),
        ("overlay", _LABEL.fullmatch(cluster.overlay), "the name of a folder of infra/kubernetes/overlays"),
        ("context", cluster.context, "a context of the kubeconfig (`kubectl config get-contexts`)"),
        ("url", cluster.url.startswith(("http://", "https://")), "the http(s) address of its Service"),
        (
            "releases",
            _PLACE.fullmatch(cluster.releases),
            "an absolute path, or a URI such as s3://bucket/releases",
        ),
    )
    for field, right, expected in rules:
        if not right:
            remedy = f"Set {variables[field]}" if field in variables else "Correct environments.yaml"
            raise ConfigError(f"the {field} of {name} is '{getattr(cluster, field)}'", expected, remedy)
    return cluster
