"""Every request that the service's own OpenAPI document shows, sent as it stands."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from contract.bundle import Bundle
from pipelines.staging.checks import Found, answer

JSON = "application/json"
MATCHLESS = frozenset({"request_id"})  # differs from answer to answer
LEAST = 2  # /predict and /predict_batch show an example of every model


@dataclass(frozen=True)
class Example:
    """One request of the document, and the answer that it shows (None: it shows none)."""

    path: str
    params: dict[str, str]
    body: Any
    shown: Any


def examples(client: httpx.Client, bundle: Bundle, version: str) -> str:
    """What was seen of the document's examples of one model.

    Raises:
        Found: one was refused or is answered otherwise than shown, or the document lacks them.
    """
    document = answer(client.get("/openapi.json"))
    found = list(documented(document, bundle.model, version))
    for item in found:
        response = client.post(item.path, params=item.params, json=item.body)
        seen = answer(response)
        if item.shown is not None and not same(seen, item.shown, bundle.golden.tolerance):
            raise Found(f"{item.path} does not answer its example as the document shows: {str(seen)[:120]}")
    whole = _by_feature(document, bundle)
    answer(client.post("/predict", params={"model": bundle.model}, json={"row": whole}))
    if len(found) < LEAST:
        raise Found(f"the document shows {len(found)} examples of {bundle.model}")
    compared = sum(item.shown is not None for item in found)
    return f"{len(found) + 1} examples answered, {compared} of them as the document shows"


def documented(document: dict[str, Any], model: str, version: str) -> Iterator[Example]:
    """The examples of `model` in an OpenAPI document."""
    for path, methods in document["paths"].items():
        for operation in methods.values():
            body = operation.get("requestBody", {}).get("content", {}).get(JSON, {})
            takes = {(item["in"], item["name"]) for item in operation.get("parameters", [])}
            shown = operation["responses"].get("200", {}).get("content", {}).get(JSON, {}).get("examples", {})
            for name, example in body.get("examples", {}).items():
                if name.split(", ")[0] == model:  # what follows the comma is another form of the same
                    yield Example(
                        path=path.replace("{model}", model).replace("{version}", version),
                        params={"model": model} if ("query", "model") in takes else {},
                        body=example["value"],
                        shown=shown[model]["value"] if model in shown else None,
                    )


def same(found: Any, shown: Any, tolerance: float) -> bool:
    """Whether an answer is the one shown: numbers within `tolerance`, all else equal, ids aside."""
    if isinstance(shown, dict):
        if not isinstance(found, dict) or set(found) != set(shown):
            return False
        return all(same(found[name], shown[name], tolerance) for name in shown if name not in MATCHLESS)
    if isinstance(shown, list):
        if not isinstance(found, list) or len(found) != len(shown):
            return False
        return all(same(one, other, tolerance) for one, other in zip(found, shown, strict=True))
    if isinstance(shown, float | int) and not isinstance(shown, bool):
        return isinstance(found, float | int) and abs(found - shown) <= tolerance
    return bool(found == shown)


def _by_feature(document: dict[str, Any], bundle: Bundle) -> dict[str, Any]:
    """A row of the examples that the document shows feature by feature."""
    properties = document["components"]["schemas"][f"{bundle.model}Row"]["properties"]
    return {feature.name: properties[feature.name]["example"] for feature in bundle.contract.features}
