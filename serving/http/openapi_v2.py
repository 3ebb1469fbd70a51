"""The routes of the Open Inference Protocol V2 in the OpenAPI document."""

from typing import Any

from contract.bundle import GoldenRow
from contract.schema import Contract
from serving.http.bodies import BATCH_ROWS, ID_LENGTH
from serving.http.openapi_answers import REFUSED
from serving.http.schemas import KEY
from serving.models.versions import Served
from serving.protocol.beside import AT, ID, KEYS
from serving.protocol.inputs import CATEGORIES, NUMBERS
from serving.protocol.models import inputs_of, outputs_of
from serving.protocol.outputs import OUTPUTS
from serving.protocol.tensors import BYTES, FP32, INT64, MOST_AXES

_TEXT = {"type": "string"}
_PARAMETERS = {
    "type": "object",
    "nullable": True,
    "additionalProperties": {"oneOf": [{"type": "boolean"}, {"type": "number"}, _TEXT]},
}


def v2_paths(models: dict[str, Served], moment: dict[str, Any]) -> dict[str, Any]:
    """Every route below /v2, with a request for each model that may be sent as is; `moment` is `at`."""
    ready = _object(["name", "ready"], name=_TEXT, ready={"type": "boolean"})
    paths = {
        "/v2": _get("The server, and the extensions of the protocol that it has", _SERVER),
        "/v2/health/live": _get("Whether the process answers", _flag("live")),
        "/v2/health/ready": _get(
            "Whether every desired model was loaded and verified", _flag("ready"), "503"
        ),
    }
    model = {**_path("model"), "schema": {"type": "string", **({"enum": list(models)} if models else {})}}
    for prefix, parameters in (
        ("/v2/models/{model}", [model]),
        ("/v2/models/{model}/versions/{version}", [model, _path("version")]),
    ):
        refusals = ("404", "422", "503")
        paths[prefix] = _get("What a model takes and answers", _metadata(models), *refusals, given=parameters)
        paths[f"{prefix}/ready"] = _get("Whether a model answers", ready, *refusals, given=parameters)
        paths[f"{prefix}/infer"] = _infer(models, parameters, moment)
    return paths


def example(served: Served) -> dict[str, Any]:
    """A golden row as tensors."""
    row: GoldenRow = served.predictor.bundle.golden.rows[0]
    contract = served.predictor.contract
    inputs: list[dict[str, Any]] = []
    if contract.numbers:
        values = [row.row[feature.name] for feature in contract.numbers]
        inputs.append({"name": NUMBERS, "datatype": FP32, "shape": [1, len(values)], "data": values})
    if contract.categories:
        words = [row.row[feature.name] or "" for feature in contract.categories]
        inputs.append({"name": CATEGORIES, "datatype": BYTES, "shape": [1, len(words)], "data": words})
    return {"id": "example", "inputs": inputs}


def _columns(contract: Contract) -> str:
    """The inputs of a model in words."""
    return "; ".join(f"`{tensor.name}`: {', '.join(tensor.columns)}" for tensor in inputs_of(contract))


def _infer(
    models: dict[str, Served], parameters: list[dict[str, Any]], moment: dict[str, Any]
) -> dict[str, Any]:
    orders = "\n".join(
        f"* **{name}** takes {_columns(served.predictor.contract)}" for name, served in models.items()
    )
    tensor = _object(
        ["name", "datatype", "shape"],
        name=_TEXT,
        datatype={"type": "string", "enum": [FP32, BYTES, INT64]},
        shape={"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": MOST_AXES},
        parameters=_PARAMETERS,
        data={"type": "array", "items": {}},
    )
    output = _object(["name"], name={"type": "string", "enum": list(OUTPUTS)}, parameters=_PARAMETERS)
    schema = _object(
        ["inputs"],
        id={"type": "string", "maxLength": ID_LENGTH, "nullable": True},
        inputs={"type": "array", "items": tensor, "minItems": 1},
        outputs={"type": "array", "items": output, "nullable": True},
        parameters=_beside(models, moment),
        model_name={**_TEXT, "nullable": True},
        model_version={**_TEXT, "nullable": True},
    )
    examples = {name: {"value": example(served)} for name, served in models.items()}
    answered = {
        **_object(["name", "datatype", "shape"], name=_TEXT, datatype=_TEXT, shape=_INTEGERS),
        "additionalProperties": True,  # data, or its size in binary form
    }
    answer = _object(
        ["id", "model_name", "model_version", "outputs"],
        id=_TEXT,
        model_name=_TEXT,
        model_version=_TEXT,
        parameters=_PARAMETERS,
        outputs={"type": "array", "items": answered},
    )
    return {
        "post": {
            "summary": f"Predict up to {BATCH_ROWS} rows of tensors",
            "description": "Rows as the inputs of the graph, or one tensor a feature, where those of "
            "the online store may be left out. NaN, null and an empty string are missing values. Tensors or "
            "parameters `id`, `at` and `keys.NAME` say more about the rows. The binary tensor extension "
            f"works, too.\n\n{orders}",
            "parameters": parameters,
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": schema, "examples": examples}},
            },
            "responses": {
                "200": {
                    "description": "the answer",
                    "content": {
                        "application/json": {"schema": answer},
                        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
                    },
                },
                **_refused("400", "404", "408", "413", "415", "422", "503"),
            },
        }
    }


def _beside(models: dict[str, Served], moment: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a request: what they may say about its rows, and whatever else a client sends."""
    keys = sorted({key for served in models.values() for key in served.predictor.contract.keys})
    properties = {
        ID: {"type": "string", "minLength": 1, "maxLength": ID_LENGTH},
        AT: moment,
        **{f"{KEYS}{name}": KEY for name in keys},
    }
    return {**_PARAMETERS, "properties": properties}


_INTEGERS = {"type": "array", "items": {"type": "integer"}}


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": required,
        "additionalProperties": False,
        "properties": properties,
    }


_SERVER = _object(
    ["name", "version", "extensions"], name=_TEXT, version=_TEXT, extensions={"type": "array", "items": _TEXT}
)


def _flag(name: str) -> dict[str, Any]:
    return _object([name], **{name: {"type": "boolean"}})


def _metadata(models: dict[str, Served]) -> dict[str, Any]:
    tensor = _object(
        ["name", "datatype", "shape"],
        name=_TEXT,
        datatype={"type": "string", "enum": [FP32, BYTES]},
        shape=_INTEGERS,
        parameters=_PARAMETERS,
    )
    tensors = {"type": "array", "items": tensor}
    schema = _object(
        ["name", "versions", "platform", "inputs", "outputs"],
        name=_TEXT,
        versions={"type": "array", "items": _TEXT},
        platform=_TEXT,
        inputs=tensors,
        outputs=tensors,
    )
    for name, served in models.items():
        answered = ", ".join(tensor.name for tensor in outputs_of(served.predictor.contract))
        schema["description"] = schema.get("description", "") + f"{name} answers {answered}. "
    return schema


def _path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": _TEXT}


def _get(
    summary: str, schema: dict[str, Any], *refusals: str, given: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    answer = {"description": "the answer", "content": {"application/json": {"schema": schema}}}
    responses = {"200": answer, **_refused(*refusals)}
    if summary.startswith("Whether every"):  # it says the same thing when the answer is no
        responses["503"] = {**answer, "description": "not yet, or no more"}
    return {"get": {"summary": summary, "parameters": given or [], "responses": responses}}


def _refused(*codes: str) -> dict[str, Any]:
    return {code: {"description": REFUSED[code]} for code in codes}
