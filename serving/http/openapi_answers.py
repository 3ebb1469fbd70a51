"""What callers get, in the OpenAPI document: schemas of answers and refusals, with the model's own values."""

from typing import Any

from contract.schema import Contract, Feature
from serving.models.versions import Served

_TEXT = {"type": "string"}
_PROBLEM = {
    "type": "object",
    "required": ["field", "found", "expected"],
    "additionalProperties": False,
    "properties": dict.fromkeys(("field", "found", "expected"), _TEXT),
}
REFUSAL = {
    "type": "object",
    "required": ["error", "problems"],
    "additionalProperties": False,
    "properties": {"error": _TEXT, "problems": {"type": "array", "items": _PROBLEM}},
}
# What each refusal means, whatever the route.
REFUSED = {
    "400": "The body is no JSON, or says a key twice",
    "404": "There is no such model, version or entity",
    "408": "The request did not arrive in time",
    "413": "The body is too large; it was not read",
    "415": "The body is of another content type",
    "422": "`problems` names each field, what was found there, and what is expected",
    "503": "Nothing answers yet, or there is too much to do: try again later, as `Retry-After` says",
}
_TAGS = (
    (("/predict", "/events", "/scores"), "Predictions"),
    (("/v2",), "Open Inference Protocol V2"),
    (("/",), "The service and its models"),
)
_IDENTITY = dict.fromkeys(("model", "version", "digest", "request_id"), _TEXT)
_SCORES = {"type": "array", "items": {"type": "number"}}
_HEADERS = {
    name: {"description": text, "schema": _TEXT}
    for name, text in (
        ("X-Model", "which model answered"),
        ("X-Model-Version", "which version of it"),
        ("X-Model-Digest", "which bundle"),
        ("X-Request-Id", "the caller's, the id of its trace, or a new one"),
    )
}


def with_answers(
    document: dict[str, Any], models: dict[str, Served], claimed: dict[str, str]
) -> dict[str, Any]:
    """`document`, with what each route answers; `claimed` are the routes of contracts, and whose each is."""
    paths, schemas = document["paths"], document["components"]["schemas"]
    schemas["Refusal"] = REFUSAL
    answers = {
        "/predict": (_one(), {name: _one_example(served) for name, served in models.items()}),
        "/predict_batch": (_batch(), {name: _batch_example(served) for name, served in models.items()}),
        **{
            route: (_object(prediction=_TEXT), {name: {"prediction": _golden(models[name]).label}})
            for route, name in claimed.items()
        },
    }
    if "/events" in paths:
        counted = {"type": "object", "additionalProperties": {"type": "integer"}}
        paths["/events"]["post"]["responses"]["200"]["content"] = _json(counted)
    for path, (schema, examples) in answers.items():
        paths[path]["post"]["responses"]["200"] |= {
            "headers": _HEADERS,
            "content": _json(schema) | {"application/json": _with_examples(schema, examples)},
        }
    refusal = _json({"$ref": "#/components/schemas/Refusal"})
    for path, methods in paths.items():
        tag = next(tag for starts, tag in _TAGS if path.startswith(starts))
        for method in methods.values():
            method["tags"] = [tag]
            for code, response in method["responses"].items():
                if int(code) >= 400:  # noqa: PLR2004 - where HTTP's refusals begin
                    response.setdefault("content", refusal)
    for name, served in models.items():
        _show_values(schemas[f"{name}Row"], served)
    return document


def _show_values(schema: dict[str, Any], served: Served) -> None:
    """Give each feature the value of a golden row, and say what is declared but not enforced."""
    row = _golden(served).row
    contract: Contract = served.predictor.contract
    for feature in contract.features:
        described = schema["properties"][feature.name]
        described["example"] = row[feature.name]
        described["description"] += declared(feature)


def declared(feature: Feature) -> str:
    """The range or the categories of a feature, where those outside are counted and answered all the same."""
    low, high = feature.minimum, feature.maximum
    if feature.kind == "number" and feature.out_of_range == "accept_and_count":
        if low is not None and high is not None:
            return f"; {low:g} to {high:g} is usual, anything else is counted"
        if low is not None or high is not None:
            bound = f"at least {low:g}" if low is not None else f"at most {high:g}"
            return f"; {bound} is usual, anything else is counted"
    if feature.categories and feature.unknown_category == "accept_and_count":
        return f"; {', '.join(feature.categories)} are known, anything else is counted"
    return ""


def _golden(served: Served) -> Any:
    return served.predictor.bundle.golden.rows[0]


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": list(properties),
        "additionalProperties": False,
        "properties": properties,
    }


def _one() -> dict[str, Any]:
    scores = {"type": "object", "additionalProperties": {"type": "number"}}
    return _object(prediction=_TEXT, scores=scores, **_IDENTITY)


def _batch() -> dict[str, Any]:
    texts = {"type": "array", "items": _TEXT}
    return _object(predictions=texts, scores={"type": "array", "items": _SCORES}, classes=texts, **_IDENTITY)


def _one_example(served: Served) -> dict[str, Any]:
    golden, classes = _golden(served), served.predictor.contract.classes
    scores = dict(zip(classes, golden.scores, strict=True))
    return {"prediction": golden.label, "scores": scores, **_who(served)}


def _batch_example(served: Served) -> dict[str, Any]:
    golden, classes = _golden(served), served.predictor.contract.classes
    return {
        "predictions": [golden.label],
        "scores": [list(golden.scores)],
        "classes": list(classes),
        **_who(served),
    }


def _who(served: Served) -> dict[str, str]:
    bundle = served.predictor.bundle
    return {
        "model": bundle.model,
        "version": served.predictor.version,
        "digest": bundle.digest,
        "request_id": "0af7651916cd43dd8448eb211c80319c",
    }


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _with_examples(schema: dict[str, Any], examples: dict[str, Any]) -> dict[str, Any]:
    return {"schema": schema, "examples": {name: {"value": value} for name, value in examples.items()}}
