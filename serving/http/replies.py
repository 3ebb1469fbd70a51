"""What answers have in common: their form, their headers, and how a caller names a model."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from contract.strict import near_miss
from serving.http.admission import OVERLOADED, RETRY_SECONDS
from serving.http.bodies import RefusedError
from serving.models.versions import NotServedError, Served, Snapshot
from serving.rows import Problem


def chosen(snapshot: Snapshot, name: str, version: str | None, request_id: str) -> Served:
    """Who answers a request to the model `name`, and to its `version` if one is named.

    Raises:
        RefusedError: 404, nobody answers to that name.
    """
    try:
        return snapshot.choose(name, version, request_id)
    except NotServedError as error:
        problem = Problem(error.field, error.found, error.expected)
        raise RefusedError(404, str(error), [problem]) from None


def not_yet(reason: str) -> RefusedError:
    """503, for the time before a model is loaded."""
    return again(f"no model answers yet: {reason or 'none is desired'}")


def too_much() -> RefusedError:
    """503, for the time in which as much waits as may."""
    return again(OVERLOADED)


def again(sentence: str) -> RefusedError:
    """503, and when to ask again."""
    return RefusedError(503, sentence, headers={"Retry-After": str(RETRY_SECONDS)})


def once(request: Request, name: str) -> str | None:
    """The query parameter `name`, or None.

    Raises:
        RefusedError: 422, it is given more than once.
    """
    asked = request.query_params.getlist(name)
    if len(asked) > 1:
        raise RefusedError(
            422, f"'{name}' is given more than once", [Problem(name, f"{len(asked)} values", "one")]
        )
    return asked[0] if asked else None


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
