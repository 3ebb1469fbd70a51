"""The OpenAPI document of what is loaded."""

from collections.abc import Iterable
from typing import Any

from contract.bundle import GoldenRow
from contract.schema import Contract
from serving.http import schemas
from serving.http.bodies import BATCH_ROWS, ID_LENGTH
from serving.http.events import EVENTS, FACTS
from serving.http.openapi_answers import REFUSED, with_answers
from serving.http.openapi_v2 import v2_paths
from serving.models.versions import Served, Snapshot
from serving.settings import Clock

VERSION = "1"  # of this interface: another one where a caller would have to change


def document(snapshot: Snapshot, clock: Clock = "wall") -> dict[str, Any]:
    """OpenAPI 3.0 of the routes that work now, with examples that may be sent as they are.

    What it cannot say: that `ids`, `at` and columns are as long as there are rows, which model a row is for,
    and what stands where in the row of a claimed route.
    """
    moments = schemas.list_of(schemas.MOMENT[clock]) if clock == "request" else schemas.MOMENT[clock]
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
                schemas.body_of(
                    contracts,
                    lambda row: {
                        "row": row,
                        "id": schemas.or_null(schemas.ID),
                        "at": schemas.or_null(schemas.MOMENT[clock]),
                        "keys": schemas.or_null(schemas.keys_of(contracts)),
                    },
                    ["row"],
                ),
                {name: {"row": row} for name, row in rows.items()},
                choice,
            ),
            "/predict_batch": _post(
                f"Predict up to {BATCH_ROWS} rows",
                {"oneOf": [schemas.batch_body(contracts, moments, form) for form in ("rows", "columns")]},
                {
                    **{name: {"rows": [row]} for name, row in rows.items()},
                    **{
                        f"{name}, by column": {"columns": schemas.by_column(row)}
                        for name, row in rows.items()
                    },
                },
                choice,
            ),
            **({"/events": _events(contracts)} if _streams(contracts) else {}),
            **{route: _claimed(models[name], clock) for route, name in sorted(snapshot.routes.items())},
            "/scores/{model}/{entity_id}": _lookup(models),
            **v2_paths(models, schemas.MOMENT[clock]),
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
                **{f"{name}Row": schemas.row_of(contract) for name, contract in contracts.items()},
                **{f"{name}Columns": schemas.columns_of(contract) for name, contract in contracts.items()},
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
            "at": schemas.MOMENT["request"],
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


def _example(served: Served) -> dict[str, Any]:
    golden: GoldenRow = served.predictor.bundle.golden.rows[0]
    return dict(golden.row)


def _claimed(served: Served, clock: Clock) -> dict[str, Any]:
    contract = served.predictor.contract
    kinds = [schemas.feature_of(feature) for feature in contract.features]
    each = {"anyOf": [kind for index, kind in enumerate(kinds) if kind not in kinds[:index]]}
    widths = dict.fromkeys(len(contract.features) - left for left in (0, len(contract.stored)))
    rows = [{**schemas.list_of(each), "minItems": width, "maxItems": width} for width in widths]
    data = {**schemas.list_of({"anyOf": rows} if len(rows) > 1 else rows[0]), "minItems": 1, "maxItems": 1}
    schema = {
        "type": "object",
        "required": ["data"],
        "additionalProperties": False,
        "properties": {
            "data": data,
            "id": schemas.or_null(schemas.ID),
            "at": schemas.or_null(schemas.MOMENT[clock]),
            "keys": schemas.or_null(schemas.keys_of({contract.model: contract})),
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
