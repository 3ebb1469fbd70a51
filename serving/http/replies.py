"""What answers have in common: their form, their headers, and how a caller names a model."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from contract.strict import near_miss
from serving.http.bodies import RefusedError
from serving.models.versions import Served, Snapshot
from serving.rows import Problem


def named(snapshot: Snapshot, name: str) -> Served:
    """The model `name` of a snapshot.

    Raises:
        RefusedError: 404, nobody answers to that name.
    """
    served = snapshot.models.get(name)
    if served is None:
        known = sorted(snapshot.models)
        hint = near_miss(name[:80], known)
        every = ", ".join(known) or "none"
        problem = Problem("model", f"'{name[:80]}'{hint}", f"one of {every}")
        raise RefusedError(404, f"there is no model '{name[:80]}'{hint}; known are {every}", [problem])
    return served


def known_parameters(request: Request, known: set[str]) -> None:
    """Refuse a query with other parameters: a misspelt one must not mean the default.

    Raises:
        RefusedError: 422.
    """
    unknown = sorted(set(request.query_params) - known)
    if unknown:
        hint = near_miss(unknown[0][:80], sorted(known))
        problem = Problem(unknown[0][:80], "an unknown parameter" + hint, ", ".join(sorted(known)) or "none")
        raise RefusedError(422, f"unknown parameter '{unknown[0][:80]}'{hint}", [problem])


def model_headers(served: Served) -> dict[str, str]:
    """The headers that say which model answered."""
    bundle = served.predictor.bundle
    return {
        "X-Model": bundle.model,
        "X-Model-Version": served.predictor.version,
        "X-Model-Digest": bundle.digest,
    }


def reply(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """`value` as a JSON answer."""
    return Response(msgspec.json.encode(value), status, headers, "application/json")
