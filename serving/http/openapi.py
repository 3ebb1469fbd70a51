"""The OpenAPI document of what is loaded, and the page that shows it without any other host."""

from typing import Any

from contract.bundle import GoldenRow
from contract.schema import Contract, Feature
from serving.features.origins import KEY_LENGTH
from serving.http.bodies import BATCH_ROWS, ID_LENGTH
from serving.http.events import EVENTS, FACTS
from serving.http.openapi_answers import with_answers
from serving.http.openapi_v2 import v2_paths
from serving.models.versions import Served, Snapshot

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


def document(snapshot: Snapshot) -> dict[str, Any]:
    """OpenAPI 3.0 of the routes that work now, with examples that may be sent as they are."""
    models = dict(sorted(snapshot.models.items(), key=lambda item: (item[0] != snapshot.default, item[0])))
    contracts = {name: served.predictor.contract for name, served in models.items()}
    rows = {name: _example(served) for name, served in models.items()}
    described = {
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
                    lambda row: {"row": row, "id": _TEXT, "at": _MOMENT, "keys": _keys(contracts)},
                    ["row"],
                ),
                {name: {"row": row} for name, row in rows.items()},
                models,
            ),
            "/predict_batch": _post(
                f"Predict up to {BATCH_ROWS} rows",
                _body(
                    contracts,
                    lambda row: {
                        "rows": _list(row),
                        "ids": _list(_TEXT),
                        "at": _list(_MOMENT),
                        "keys": _list(_keys(contracts)),
                    },
                    ["rows"],
                ),
                {name: {"rows": [row]} for name, row in rows.items()},
                models,
            ),
            **({"/events": _events(contracts)} if _streams(contracts) else {}),
            **{route: _claimed(models[name]) for route, name in sorted(snapshot.routes.items())},
            "/scores/{model}/{entity_id}": _lookup(models),
            **v2_paths(models),
            "/models": _get("The models that answer, and their versions"),
            "/models/{name}/contract": _get(
                "The contract of a model", [_parameter("name", "path", models), _VERSION]
            ),
            "/status": _get("What is served and refused, and why"),
            "/readyz": _get("Whether every desired model was loaded and verified"),
            "/metrics": _get("Prometheus metrics"),
        },
        "components": {"schemas": {f"{name}Row": _row(contract) for name, contract in contracts.items()}},
    }
    return with_answers(described, models, dict(snapshot.routes))


_TEXT = {"type": "string"}
_VERSION = {
    "name": "version",
    "in": "query",
    "required": False,
    "schema": _TEXT,
    "description": "One of the model's loaded versions, as /models lists them; else its split decides",
}
_MOMENT = {"type": "string", "format": "date-time"}


def _keys(contracts: dict[str, Contract]) -> dict[str, Any]:
    """The keys of stored features that a caller sends beside a row."""
    names = sorted({key for contract in contracts.values() for key in contract.keys})
    kinds = [{"type": "string", "maxLength": KEY_LENGTH}, {"type": "integer"}]
    return {
        "type": "object",
        "nullable": True,
        "additionalProperties": False,
        "description": "keys of features that the row leaves to the online store",
        "properties": {name: {"oneOf": kinds, "nullable": True} for name in names},
    }


def _streams(contracts: dict[str, Contract]) -> list[str]:
    aggregates = [f.aggregate for contract in contracts.values() for f in contract.stored]
    return sorted({aggregate.events for aggregate in aggregates if aggregate is not None})


def _events(contracts: dict[str, Contract]) -> dict[str, Any]:
    streams = _streams(contracts)
    event = {
        "type": "object",
        "required": ["id", "stream", "at", "facts"],
        "additionalProperties": False,
        "properties": {
            "id": {"type": "string", "minLength": 1, "maxLength": ID_LENGTH},
            "stream": {"type": "string", "enum": streams},
            "at": _MOMENT,
            "facts": {"type": "object", "maxProperties": FACTS},
        },
    }
    schema = {
        "type": "object",
        "required": ["events"],
        "additionalProperties": False,
        "properties": {"events": {"type": "array", "items": event, "minItems": 1, "maxItems": EVENTS}},
    }
    return _post(f"Take in up to {EVENTS} events of {', '.join(streams)}", schema, {}, {})


def _list(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item}


def _body(contracts: dict[str, Contract], properties: Any, required: list[str]) -> dict[str, Any]:
    row = {"oneOf": [{"$ref": f"#/components/schemas/{name}Row"} for name in contracts]}
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
    if feature.out_of_range == "refuse":  # else the range is not what decides
        schema |= {k: v for k in ("minimum", "maximum") if (v := getattr(feature, k)) is not None}
    if feature.categories and feature.unknown_category == "refuse":
        schema["enum"] = [*feature.categories, *([None] if feature.nullable else [])]
    return schema


def _example(served: Served) -> dict[str, Any]:
    golden: GoldenRow = served.predictor.bundle.golden.rows[0]
    return dict(golden.row)


def _claimed(served: Served) -> dict[str, Any]:
    contract = served.predictor.contract
    width = len(contract.features)
    data = {**_list({**_list({}), "minItems": width, "maxItems": width}), "minItems": 1, "maxItems": 1}
    schema = {
        "type": "object",
        "required": ["data"],
        "additionalProperties": False,
        "properties": {"data": data},
    }
    row = _example(served)
    example = {"data": [[row.get(feature.name) for feature in contract.features]]}
    order = ", ".join(feature.name for feature in contract.features)
    return _post(f"Predict one row of {contract.model}: {order}", schema, {contract.model: example}, {})


def _post(
    summary: str, schema: dict[str, Any], examples: dict[str, Any], models: dict[str, Served]
) -> dict[str, Any]:
    content = {"schema": schema, "examples": {name: {"value": value} for name, value in examples.items()}}
    return {
        "post": {
            "summary": summary,
            "parameters": [_parameter("model", "query", models), _VERSION] if models else [],
            "requestBody": {"required": True, "content": {"application/json": content}},
            "responses": _responses("200", "400", "404", "413", "415", "422", "503"),
        }
    }


def _get(summary: str, parameters: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    codes = ("200", "404", "422") if parameters else ("200",)
    return {"get": {"summary": summary, "parameters": parameters or [], "responses": _responses(*codes)}}


def _lookup(models: dict[str, Served]) -> dict[str, Any]:
    entity: dict[str, Any] = {"name": "entity_id", "in": "path", "required": True}
    entity["schema"] = {**_TEXT, "minLength": 1, "maxLength": ID_LENGTH}
    found = _get("A precomputed answer by entity", [_parameter("model", "path", models), entity])
    found["get"]["responses"] = _responses("200", "404", "422", "503")
    return found


def _parameter(name: str, where: str, models: dict[str, Served]) -> dict[str, Any]:
    schema = {"type": "string", **({"enum": list(models)} if models else {})}
    return {"name": name, "in": where, "required": where == "path", "schema": schema}


def _responses(*codes: str) -> dict[str, Any]:
    return {
        code: {"description": "the answer" if code == "200" else "a sentence saying why not"}
        for code in codes
    }
