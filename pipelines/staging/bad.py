"""Requests that must be refused: for each feature what its declaration forbids, and what no body may be."""

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from contract.bundle import Bundle
from contract.schema import Contract, Feature
from pipelines.staging.checks import JSON, refused
from serving.http.bodies import BATCH_ROWS

TEXT = {"content-type": "text/plain"}
BEYOND_FLOAT32 = "1e39"  # a number to JSON, and none to the graph


@dataclass(frozen=True)
class Bad:
    """A request that must be refused; `field` is what the refusal must point at, where it is one place."""

    name: str
    content: bytes
    field: str = ""
    path: str = "/predict"
    params: dict[str, str] = dataclasses.field(default_factory=dict)
    headers: dict[str, str] = dataclasses.field(default_factory=lambda: JSON)
    method: str = "POST"

    @property
    def request(self) -> dict[str, Any]:
        """The arguments of a client."""
        return {
            "method": self.method,
            "url": self.path,
            "params": self.params,
            "content": self.content,
            "headers": self.headers,
        }


def bad_inputs(bundle: Bundle) -> list[Bad]:
    """Every bad input for the contract of `bundle`, made from a golden row by one change each."""
    good = dict(bundle.golden.rows[0].row)
    return [*_bodies(bundle.model, good), *_rows(bundle.contract, good)]


def unrefused(case: Bad, response: httpx.Response) -> str:
    """How an answer to `case` falls short of a refusal that says where to look; empty where it does not."""
    if not refused(response):
        return str(response.status_code)
    fields = [problem["field"] for problem in response.json()["problems"]]
    if case.field and case.field not in fields:
        return f"{response.status_code}, which names {', '.join(fields) or 'nothing'}"
    return ""


def _bodies(model: str, good: dict[str, Any]) -> Iterator[Bad]:
    """What is wrong before any feature is looked at."""
    params = {"model": model}
    row = _json({"row": good})
    batch = "/predict_batch"
    yield Bad("not JSON", b'{"row": ', params=params)
    yield Bad("empty body", b"", params=params)
    yield Bad("bytes that are no UTF-8", b'{"row": "\xff"}', params=params)
    yield Bad("an array", b"[]", params=params)
    yield Bad("no row", b"{}", params=params)
    yield Bad("a row that is an array", _json({"row": list(good.values())}), params=params)
    yield Bad("a row that is null", _json({"row": None}), params=params)
    yield Bad("an unknown key", _json({"row": good, "debug": True}), params=params)
    yield Bad("an unknown feature", _json({"row": {**good, "no such": 1}}), "row.no such", params=params)
    yield Bad("an id that is a number", _json({"row": good, "id": 5}), params=params)
    yield Bad("plain text", row, "content-type", params=params, headers=TEXT)
    yield Bad("unknown model", row, "model", params={"model": "no-such"})
    yield Bad("unknown version", row, "version", params={**params, "version": "no-such"})
    yield Bad("unknown parameter", row, "modle", params={"modle": model})
    yield Bad("wrong method", b"", "method", params=params, method="GET")
    yield Bad("a batch without rows", _json({"rows": []}), "rows", batch, params)
    yield Bad("a batch that is too long", _json({"rows": [{}] * (BATCH_ROWS + 1)}), "rows", batch, params)
    yield Bad("ids of another length", _json({"rows": [good], "ids": ["a", "b"]}), "ids", batch, params)
    yield Bad(
        "one bad row of two",
        _json({"rows": [good, {**good, "no such": 1}]}),
        "rows[1].no such",
        batch,
        params,
    )


def _rows(contract: Contract, good: dict[str, Any]) -> Iterator[Bad]:
    """What the declaration of each feature forbids."""
    for feature in contract.features:
        place = f"row.{feature.name}"
        others = {name: value for name, value in good.items() if name != feature.name}
        for what, literal in _values(feature):
            # Written by hand: some of these are no values of any JSON library.
            body = f'{{"row": {{{json.dumps(feature.name)}: {literal}, {json.dumps(others)[1:-1]}}}}}'
            if not others:
                body = f'{{"row": {{{json.dumps(feature.name)}: {literal}}}}}'
            where = "" if what in NO_JSON else place
            yield Bad(f"{what} as {feature.name}", body.encode(), where, params={"model": contract.model})
        if not feature.nullable and not feature.stored:
            yield Bad(
                f"{feature.name} is missing", _json({"row": others}), place, params={"model": contract.model}
            )


NO_JSON = ("NaN", "a huge number")  # refused as a body, before there is a feature to name


def _values(feature: Feature) -> Iterator[tuple[str, str]]:
    """What it is, and the JSON text of a value that the feature may not have."""
    yield "true", "true"
    yield "an array", "[1]"
    yield "an object", '{"value": 1}'
    if not feature.nullable:
        yield "null", "null"
    if feature.kind == "number":
        yield "a number as text", '"1.5"'
        yield "NaN", "NaN"
        yield "a huge number", "1e999"
        yield "a number beyond 32 bits", BEYOND_FLOAT32
        if feature.out_of_range == "refuse":
            if feature.minimum is not None:
                yield "less than the minimum", json.dumps(feature.minimum - _step(feature.minimum))
            if feature.maximum is not None:
                yield "more than the maximum", json.dumps(feature.maximum + _step(feature.maximum))
        return
    yield "a number", "5"
    yield "an empty text", '""'
    yield "a text with a NUL", '"a\\u0000b"'
    if feature.categories and feature.unknown_category == "refuse":
        yield "an unknown category", json.dumps("~".join(feature.categories) + "~")


def _step(bound: float) -> float:
    """So far outside that no rounding to 32 bits brings it back."""
    return max(1.0, abs(bound) * 0.01)


def _json(value: object) -> bytes:
    return json.dumps(value).encode()
