"""The OpenAPI document of what is loaded."""

from collections.abc import Iterable
from typing import Any

from contract.bundle import GoldenRow
from contract.schema import Contract, Feature
from serving.features.origins import KEY_LENGTH
from serving.http.bodies import BATCH_ROWS, ID_LENGTH
from serving.http.events import EVENTS, FACTS
from serving.http.openapi_answers import REFUSED, with_answers
from serving.http.openapi_v2 import v2_paths
from serving.models.versions import Served, Snapshot
from serving.rows import FLOAT32_MAX
from serving.settings import Clock

VERSION = "1"  # of this interface: another one where a caller would have to change


def document(snapshot: Snapshot, clock: Clock = "wall") -> dict[str, Any]:
    """OpenAPI 3.0 of the routes that work now, with examples that may be sent as they are.

    What it cannot say: that `ids`, `at` and columns are as long as there are rows, which model a row is for,
    and what stands where in the row of a claimed route.
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
    described = {
        "openapi": "3.0.3",
        "info": {
            "title": "Flightline",
            "version": VERSION,
            "description": _about(snapshot, models),
        },
        "paths": {
            "/predict": _post(
                "Predict one row",
                _body(
                    contracts,
                    lambda row: {
                        "row": row,
                        "id": _or_null(_ID),
                        "at": _or_null(_MOMENT[clock]),
                        "keys": _or_null(_keys(contracts)),
                    },
                    ["row"],
                ),
                {name: {"row": row} for name, row in rows.items()},
                choice,
            ),
            "/predict_batch": _post(
                f"Predict up to {BATCH_ROWS} rows",
                {"oneOf": [_batch(contracts, moments, form) for form in ("rows", "columns")]},
                {
                    **{name: {"rows": [row]} for name, row in rows.items()},
                    **{f"{name}, by column": {"columns": _turned(row)} for name, row in rows.items()},
                },
                choice,
            ),
            **({"/events": _events(contracts)} if _streams(contracts) else {}),
            **{route: _claimed(models[name], clock) for route, name in sorted(snapshot.routes.items())},
            "/scores/{model}/{entity_id}": _lookup(models),
            **v2_paths(models, _MOMENT[clock]),
            "/models": _get("The models that answer, and their versions"),
            "/models/{name}/contract": _get(
                "The contract of a model",
                [_parameter("name", "path", models), *choice[1:]],
                *("404", "422", "503"),
            ),
            "/status": _get("What is served and refused, and why"),
            "/readyz": _ready(),
            "/metrics": _get("Prometheus metrics"),
        },
        "components": {
            "schemas": {
                **{f"{name}Row": _row(contract) for name, contract in contracts.items()},
                **{f"{name}Columns": _columns(contract) for name, contract in contracts.items()},
            }
        },
    }
    return with_answers(described, models, dict(snapshot.routes))


def _about(snapshot: Snapshot, models: dict[str, Served]) -> str:
    """Who answers."""
    default = {snapshot.default: ", default"}
    who = [f"{name} (version {served.version}{default.get(name, '')})" for name, served in models.items()]
    return f"Models: {', '.join(who) or 'none yet'}. Generation {snapshot.generation} of the desired state."


_TEXT = {"type": "string"}
_VERSION = "One of the model's loaded versions, as /models lists them; else its split decides"
_ID = {
    "type": "string",
    "minLength": 1,
    "maxLength": ID_LENGTH,
    "description": "whom a row is about, such as a flight: the prediction log keeps it for labels to come",
}
_MOMENT: dict[Clock, dict[str, Any]] = {
    "request": {
        "type": "string",
        "format": "date-time",
        "description": "the moment that a row is about; now unless it is said",
    },
    "wall": {
        "type": "string",
        "enum": [None],
        "description": "Refused: this environment's clock is wall time",
    },
}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "nullable": True}


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
            "at": _MOMENT["request"],
            "facts": {"type": "object", "maxProperties": FACTS},
        },
    }
    schema = {
        "type": "object",
        "required": ["events"],
        "additionalProperties": False,
        "properties": {"events": {"type": "array", "items": event, "minItems": 1, "maxItems": EVENTS}},
    }
    return _post(f"Take in up to {EVENTS} events of {', '.join(streams)}", schema, {}, [])


def _list(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item}


def _batch(contracts: dict[str, Contract], moments: dict[str, Any], form: str) -> dict[str, Any]:
    """A body of /predict_batch, in one of its two forms."""

    def properties(each: dict[str, Any]) -> dict[str, Any]:
        return {
            form: each if form == "columns" else {**_list(each), "minItems": 1, "maxItems": BATCH_ROWS},
            "ids": _or_null(_list(_ID)),
            "at": _or_null(moments),
            "keys": _or_null(_list(_or_null(_keys(contracts)))),
        }

    return _body(contracts, properties, [form], "Columns" if form == "columns" else "Row")


def _turned(row: dict[str, Any]) -> dict[str, Any]:
    return {name: [value] for name, value in row.items()}


def _columns(contract: Contract) -> dict[str, Any]:
    described = _row(contract)
    described["properties"] = {
        name: {**_list(value), "minItems": 1, "maxItems": BATCH_ROWS}
        for name, value in described["properties"].items()
    }
    return described


def _body(
    contracts: dict[str, Contract], properties: Any, required: list[str], kind: str = "Row"
) -> dict[str, Any]:
    row = {"anyOf": [{"$ref": f"#/components/schemas/{name}{kind}"} for name in contracts]}
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


def _claimed(served: Served, clock: Clock) -> dict[str, Any]:
    contract = served.predictor.contract
    kinds = [_feature(feature) for feature in contract.features]
    each = {"anyOf": [kind for index, kind in enumerate(kinds) if kind not in kinds[:index]]}
    widths = dict.fromkeys(len(contract.features) - left for left in (0, len(contract.stored)))
    rows = [{**_list(each), "minItems": width, "maxItems": width} for width in widths]
    data = {**_list({"anyOf": rows} if len(rows) > 1 else rows[0]), "minItems": 1, "maxItems": 1}
    schema = {
        "type": "object",
        "required": ["data"],
        "additionalProperties": False,
        "properties": {
            "data": data,
            "id": _or_null(_ID),
            "at": _or_null(_MOMENT[clock]),
            "keys": _or_null(_keys({contract.model: contract})),
        },
    }
    row = _example(served)
    example = {"data": [[row.get(feature.name) for feature in contract.features]]}
    order = ", ".join(feature.name for feature in contract.features)
    return _post(
        f"Predict one row of {contract.model}: {order}",
        schema,
        {contract.model: example},
        [],
    )


def _post(
    summary: str,
    schema: dict[str, Any],
    examples: dict[str, Any],
    choice: list[dict[str, Any]],
) -> dict[str, Any]:
    content = {"schema": schema, "examples": {name: {"value": value} for name, value in examples.items()}}
    return {
        "post": {
            "summary": summary,
            "parameters": choice,
            "requestBody": {"required": True, "content": {"application/json": content}},
            "responses": _responses("200", "400", "404", "408", "413", "415", "422", "503"),
        }
    }


def _get(summary: str, parameters: list[dict[str, Any]] | None = None, *refusals: str) -> dict[str, Any]:
    responses = _responses("200", *refusals)
    return {"get": {"summary": summary, "parameters": parameters or [], "responses": responses}}


def _ready() -> dict[str, Any]:
    described = _get("Whether every desired model was loaded and verified")
    why = {"text/plain": {"schema": _TEXT}}
    described["get"]["responses"]["503"] = {"description": "Not yet, or no more, and why", "content": why}
    return described


def _lookup(models: dict[str, Served]) -> dict[str, Any]:
    entity: dict[str, Any] = {"name": "entity_id", "in": "path", "required": True}
    entity["schema"] = {**_TEXT, "minLength": 1, "maxLength": ID_LENGTH}
    parameters = [_parameter("model", "path", models), entity]
    return _get("A precomputed answer by entity", parameters, "404", "422", "503")


def _parameter(name: str, where: str, known: Iterable[str]) -> dict[str, Any]:
    schema = {"type": "string", **({"enum": every} if (every := list(known)) else {})}
    return {"name": name, "in": where, "required": where == "path", "schema": schema}


def _responses(*codes: str) -> dict[str, Any]:
    return {code: {"description": "the answer" if code == "200" else REFUSED[code]} for code in codes}
