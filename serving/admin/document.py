"""The OpenAPI document of the admin API."""

from typing import Any

_TEXT, _FLAG, _SHARE = (
    {"type": "string"},
    {"type": "boolean"},
    {"type": "number", "minimum": 0, "maximum": 100},
)
_SHARES = {"type": "object", "additionalProperties": _SHARE}
_OLDER = {**_FLAG, "description": "Allow a contract that refuses what the answering version accepts"}
_SAYS = {
    "200": "Every live worker acknowledged it; `changed` is false where it was so already",
    "400": "The body is not JSON",
    "401": "The token is missing or wrong",
    "404": "There is no such model or version",
    "409": "The version is in use, or another call is under way",
    "413": "The body is too large",
    "422": "The request has another form, or a worker refused what it asks; what answered before answers on",
    "503": "Too many calls at once",
    "504": "A live worker has not acknowledged in time; `lacking` says which",
}


def _call(summary: str, body: dict[str, Any] | None, example: Any = None) -> dict[str, Any]:
    call: dict[str, Any] = {
        "summary": summary,
        "parameters": [
            {
                "name": "wait",
                "in": "query",
                "schema": {"type": "number", "exclusiveMinimum": True, "minimum": 0, "maximum": 120},
                "description": "Seconds to wait for the workers; 30 unless told",
            }
        ],
        "responses": {code: {"description": text} for code, text in _SAYS.items()},
    }
    if body is not None:
        schema = {
            "type": "object",
            "additionalProperties": False,
            "required": [name for name in body if name != "older_contract"],
            "properties": body,
        }
        content = {"application/json": {"schema": schema, "example": example}}
        call["requestBody"] = {"required": True, "content": content}
    return call


def _look(summary: str) -> dict[str, Any]:
    return {
        "get": {
            "summary": summary,
            "responses": {code: {"description": _SAYS[code]} for code in ("200", "401")},
        }
    }


def _path(name: str, calls: dict[str, Any]) -> dict[str, Any]:
    words = [word.strip("{}") for word in name.split("/") if word.startswith("{")]
    return {
        **calls,
        "parameters": [{"name": word, "in": "path", "required": True, "schema": _TEXT} for word in words],
    }


PATHS: dict[str, dict[str, Any]] = {
    "/models": _look("What is desired, and what each live worker has made of it"),
    "/models/{model}/versions/{version}": {
        "put": _call(
            "Load a version beside the others: verified, warmed, answering nobody yet",
            {"release": _TEXT, "digest": _TEXT, "older_contract": _OLDER},
            {"release": "/releases/abc", "digest": "0" * 64},
        ),
        "delete": _call("Unload a version that answers nobody", None),
    },
    "/models/{model}/default": {
        "put": _call(
            "Have one version answer everything that names none",
            {"version": _TEXT, "older_contract": _OLDER},
            {"version": "2"},
        )
    },
    "/models/{model}/split": {
        "put": _call(
            "Share those requests out, in percent that sum to 100; a small share is a canary",
            {"split": _SHARES, "older_contract": _OLDER},
            {"split": {"1": 95, "2": 5}},
        )
    },
    "/models/{model}/mirror": {
        "put": _call(
            "Have versions answer a percentage of them a second time, as shadows",
            {"mirror": _SHARES},
            {"mirror": {"2": 100}},
        )
    },
    "/openapi.json": _look("This document"),
}


def document() -> dict[str, Any]:
    """OpenAPI 3.0 of every path."""
    return {
        "openapi": "3.0.3",
        "info": {"title": "Flightline admin", "version": "1"},
        "security": [{"token": []}],
        "paths": {name: _path(name, calls) for name, calls in PATHS.items()},
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }
