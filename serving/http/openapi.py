"""The OpenAPI document of what is loaded, and the page that shows it without any other host."""

from collections.abc import Iterable
from typing import Any

from contract.bundle import GoldenRow
from contract.schema import Contract, Feature
from serving.http.bodies import BATCH_ROWS, ID_LENGTH
from serving.models.versions import Served, Snapshot
from serving.rows import FLOAT32_MAX
from serving.settings import Clock

VERSION = "1"  # of this interface: another one where a caller would have to change
# BentoML's own page loads a tag manager from another host.
DOCS = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Flightline</title>
<link rel="icon" href="/static_content/favicon-light-32x32.png">
<link rel="stylesheet" href="/static_content/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/static_content/swagger-ui-bundle.js"></script>
<script>SwaggerUIBundle({url: "/openapi.json", dom_id: "#swagger-ui", validatorUrl: null});</script>
</body>
</html>
"""


def document(snapshot: Snapshot, clock: Clock = "wall") -> dict[str, Any]:
    """OpenAPI 3.0 of the routes that work now, with examples that may be sent as they are.

    What it cannot say: that `ids` and `at` are as long as `rows`, which model a row is for, and what stands
    where in the row of a claimed route.
    """
    moments = _list(_MOMENT[clock]) if clock == "request" else _MOMENT[clock]
    models = dict(sorted(snapshot.models.items(), key=lambda item: (item[0] != snapshot.default, item[0])))
    contracts = {name: served.predictor.contract for name, served in models.items()}
    rows = {name: _example(served) for name, served in models.items()}
    versions = sorted({version for model in snapshot.loaded.values() for version in model.versions})
    choice = [
        _parameter("model", "query", models),
        {**_parameter("version", "query", versions), "description": _VERSION},
    ]
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "Flightline",
            "version": VERSION,
            "description": f"Generation {snapshot.generation} of the desired state.",
        },
        "paths": {
            "/predict": _post(
                "Predict one row",
                _body(
                    contracts,
                    lambda row: {"row": row, "id": _or_null(_ID), "at": _or_null(_MOMENT[clock])},
                    ["row"],
                ),
                {name: {"row": row} for name, row in rows.items()},
                choice,
                {"prediction": _TEXT, "scores": {"type": "object", "additionalProperties": _NUMBER}},
            ),
            "/predict_batch": _post(
                f"Predict up to {BATCH_ROWS} rows",
                _body(
                    contracts,
                    lambda row: {
                        "rows": {**_list(row), "minItems": 1, "maxItems": BATCH_ROWS},
                        "ids": _or_null(_list(_ID)),
                        "at": _or_null(moments),
                    },
                    ["rows"],
                ),
                {name: {"rows": [row]} for name, row in rows.items()},
                choice,
                {"predictions": _list(_TEXT), "classes": _list(_TEXT), "scores": _list(_list(_NUMBER))},
            ),
            **{route: _claimed(models[name]) for route, name in sorted(snapshot.routes.items())},
            "/models": _get("The models that answer, and their versions"),
            "/models/{name}/contract": _get(
                "The contract of a model", [_parameter("name", "path", models), *choice[1:]], "404", "422"
            ),
            "/status": _get("What is served and refused, and why"),
            "/readyz": _get("Whether every desired model was loaded and verified"),
            "/metrics": _get("Prometheus metrics"),
        },
        "components": {
            "schemas": {
                "Refusal": _REFUSAL,
                **{f"{name}Row": _row(contract) for name, contract in contracts.items()},
            }
        },
    }


_TEXT = {"type": "string"}
_VERSION = "One of the model's loaded versions, as /models lists them; else its split decides"
_NUMBER = {"type": "number"}
_IDENTITY = {"model": _TEXT, "version": _TEXT, "digest": _TEXT, "request_id": _TEXT}
_ID = {"type": "string", "minLength": 1, "maxLength": ID_LENGTH}
_MOMENT: dict[Clock, dict[str, Any]] = {
    "request": {"type": "string", "format": "date-time"},
    "wall": {
        "type": "string",
        "enum": [None],
        "description": "Refused: this environment's clock is wall time",
    },
}
_REFUSAL = {
    "type": "object",
    "required": ["error", "problems"],
    "properties": {
        "error": _TEXT,
        "problems": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "found", "expected"],
                "properties": {"field": _TEXT, "found": _TEXT, "expected": _TEXT},
            },
        },
    },
}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "nullable": True}


def _list(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item}


def _body(contracts: dict[str, Contract], properties: Any, required: list[str]) -> dict[str, Any]:
    row = {"anyOf": [{"$ref": f"#/components/schemas/{name}Row"} for name in contracts]}
    return {
        "type": "object",
        "required": required,
        "additionalProperties": False,
        "properties": properties(row if contracts else {"type": "object"}),
    }


def _row(contract: Contract) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [feature.name for feature in contract.features if not feature.nullable],
        "properties": {feature.name: _feature(feature) for feature in contract.features},
    }


def _feature(feature: Feature) -> dict[str, Any]:
    unit = f" ({feature.unit})" if feature.unit else ""
    schema: dict[str, Any] = {
        "type": "number" if feature.kind == "number" else "string",
        "description": feature.description + unit,
    }
    if feature.nullable:
        schema["nullable"] = True
    if feature.kind == "number":
        # Where a value out of range is accepted, what fits in 32 bits decides.
        refused = feature.out_of_range == "refuse"
        low, high = (feature.minimum, feature.maximum) if refused else (None, None)
        schema["minimum"] = -FLOAT32_MAX if low is None else low
        schema["maximum"] = FLOAT32_MAX if high is None else high
    else:
        schema |= {"minLength": 1, "pattern": "^[^\\u0000]*$"}
    if feature.categories and feature.unknown_category == "refuse":
        schema["enum"] = [*feature.categories, *([None] if feature.nullable else [])]
    return schema


def _example(served: Served) -> dict[str, Any]:
    golden: GoldenRow = served.predictor.bundle.golden.rows[0]
    return dict(golden.row)


def _claimed(served: Served) -> dict[str, Any]:
    contract = served.predictor.contract
    width = len(contract.features)
    kinds = [_feature(feature) for feature in contract.features]
    each = {"anyOf": [kind for index, kind in enumerate(kinds) if kind not in kinds[:index]]}
    data = {**_list({**_list(each), "minItems": width, "maxItems": width}), "minItems": 1, "maxItems": 1}
    schema = {
        "type": "object",
        "required": ["data"],
        "additionalProperties": False,
        "properties": {"data": data},
    }
    row = _example(served)
    example = {"data": [[row.get(feature.name) for feature in contract.features]]}
    order = ", ".join(feature.name for feature in contract.features)
    return _post(
        f"Predict one row of {contract.model}: {order}",
        schema,
        {contract.model: example},
        [],
        {"prediction": _TEXT},
    )


def _post(
    summary: str,
    schema: dict[str, Any],
    examples: dict[str, Any],
    choice: list[dict[str, Any]],
    answer: dict[str, Any],
) -> dict[str, Any]:
    said = {**answer, **(_IDENTITY if choice else {})}  # a claimed route says them in headers alone
    answered = {"type": "object", "required": list(said), "additionalProperties": False, "properties": said}
    content = {"schema": schema, "examples": {name: {"value": value} for name, value in examples.items()}}
    return {
        "post": {
            "summary": summary,
            "parameters": choice,
            "requestBody": {"required": True, "content": {"application/json": content}},
            "responses": {
                "200": {"description": "the answer", "content": {"application/json": {"schema": answered}}},
                **_responses("400", "404", "408", "413", "415", "422", "503"),
            },
        }
    }


def _get(summary: str, parameters: list[dict[str, Any]] | None = None, *refusals: str) -> dict[str, Any]:
    responses = _responses("200", *refusals)
    return {"get": {"summary": summary, "parameters": parameters or [], "responses": responses}}


def _parameter(name: str, where: str, known: Iterable[str]) -> dict[str, Any]:
    schema = {"type": "string", **({"enum": every} if (every := list(known)) else {})}
    return {"name": name, "in": where, "required": where == "path", "schema": schema}


def _responses(*codes: str) -> dict[str, Any]:
    refusal = {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}}
    return {
        code: {"description": "the answer"}
        if code == "200"
        else {"description": "a sentence saying why not", "content": refusal}
        for code in codes
    }
