"""JSON schemas of what callers send, as the contracts that are loaded have it."""

from typing import Any

from contract.schema import Contract, Feature
from serving.features.origins import KEY_BITS, KEY_LENGTH
from serving.http.bodies import BATCH_ROWS, ID_LENGTH
from serving.rows import FLOAT32_MAX
from serving.settings import Clock

ID = {
    "type": "string",
    "minLength": 1,
    "maxLength": ID_LENGTH,
    "description": "whom a row is about, such as a flight: the prediction log keeps it for labels to come",
}
_LARGEST_KEY = 2**KEY_BITS - 1
_KEYS: list[dict[str, Any]] = [
    {"type": "integer", "minimum": -_LARGEST_KEY, "maximum": _LARGEST_KEY},
    {"type": "string", "maxLength": KEY_LENGTH},
]
KEY = {"anyOf": _KEYS}
MOMENT: dict[Clock, dict[str, Any]] = {
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


def or_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The same, or null: a word that only stands beside a `type`."""
    return {**schema, "nullable": True}


def keys_of(contracts: dict[str, Contract]) -> dict[str, Any]:
    """The keys of stored features that a caller sends beside a row."""
    names = sorted({key for contract in contracts.values() for key in contract.keys})
    return {
        "type": "object",
        "nullable": True,
        "additionalProperties": False,
        "description": "keys of features that the row leaves to the online store",
        "properties": {name: {"anyOf": list(map(or_null, _KEYS))} for name in names},
    }


def list_of(item: dict[str, Any]) -> dict[str, Any]:
    """A list of such items."""
    return {"type": "array", "items": item}


def batch_body(contracts: dict[str, Contract], moments: dict[str, Any], form: str) -> dict[str, Any]:
    """A body of /predict_batch, in one of its two forms."""

    def properties(each: dict[str, Any]) -> dict[str, Any]:
        return {
            form: each if form == "columns" else {**list_of(each), "minItems": 1, "maxItems": BATCH_ROWS},
            "ids": or_null(list_of(ID)),
            "at": or_null(moments),
            "keys": or_null(list_of(or_null(keys_of(contracts)))),
        }

    return body_of(contracts, properties, [form], "Columns" if form == "columns" else "Row")


def by_column(row: dict[str, Any]) -> dict[str, Any]:
    """A batch of this one row, by column."""
    return {name: [value] for name, value in row.items()}


def columns_of(contract: Contract) -> dict[str, Any]:
    """Each feature's values of a batch."""
    described = row_of(contract)
    described["properties"] = {
        name: {**list_of(value), "minItems": 1, "maxItems": BATCH_ROWS}
        for name, value in described["properties"].items()
    }
    return described


def body_of(
    contracts: dict[str, Contract], properties: Any, required: list[str], kind: str = "Row"
) -> dict[str, Any]:
    """An object of what `properties` makes of the schema of a row, or of columns, of any of `contracts`."""
    row = {"anyOf": [{"$ref": f"#/components/schemas/{name}{kind}"} for name in contracts]}
    return {
        "type": "object",
        "required": required,
        "additionalProperties": False,
        "properties": properties(row if contracts else {"type": "object"}),
    }


def row_of(contract: Contract) -> dict[str, Any]:
    """A row: what may be missing may be left out, and so may what the online store has."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [
            feature.name for feature in contract.features if not (feature.nullable or feature.stored)
        ],
        "properties": {feature.name: feature_of(feature) for feature in contract.features},
    }


def feature_of(feature: Feature) -> dict[str, Any]:
    """One value."""
    unit = f" ({feature.unit})" if feature.unit else ""
    stored = "; left out, it is read from the online store" if feature.stored else ""
    schema: dict[str, Any] = {
        "type": "number" if feature.kind == "number" else "string",
        "description": feature.description + unit + stored,
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
