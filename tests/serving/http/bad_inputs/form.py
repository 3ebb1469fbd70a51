"""What a bad input is: a request by its parts, the status it must get, and the field the answer must name."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

ROW = {"width": 1.5, "height": 0.25, "letter": "A"}
SHORTEST, LONGEST = 10, 10_000  # of a sentence, in characters; of a refusal, in bytes
PLAIN = [1.5, 0.25]  # a row of the model that claims /predict/label


@dataclass(frozen=True)
class Bad:
    """One bad request. `field` is that of the first problem: the place where a caller must look."""

    content: bytes
    status: int
    field: str
    url: str = "/predict"
    method: str = "POST"
    headers: Mapping[str, str] | tuple[tuple[str, str], ...] = field(
        default_factory=lambda: {"content-type": "application/json"}
    )
    clock: Literal["wall", "request"] = "wall"
    words: str = ""  # of the sentence, where the status and the field leave open what is wrong

    @property
    def request(self) -> dict[str, Any]:
        """The arguments of a client."""
        headers = list(self.headers.items()) if isinstance(self.headers, Mapping) else list(self.headers)
        return {"method": self.method, "url": self.url, "content": self.content, "headers": headers}


def text(content: str | bytes, field: str = "body", status: int = 400, **more: Any) -> Bad:
    """A body as it stands."""
    return Bad(content.encode() if isinstance(content, str) else content, status, field, **more)


def body(value: object, field: str = "body", **more: Any) -> Bad:
    """A body of JSON that is refused for what it says."""
    return Bad(json.dumps(value).encode(), 422, field, **more)


def row(field: str, **change: Any) -> Bad:
    """A prediction of the good row with a change."""
    return body({"row": ROW | change}, field)


def literal(field: str, value: str, status: int = 422) -> Bad:
    """A prediction of a good row in which one number is written as `value`."""
    place = f"row.{field}" if status == 422 else "body"
    return text(f'{{"row": {{"width": 1, "{field}": {value}}}}}', place, status)


def batch(field: str, **change: Any) -> Bad:
    """A batch of two good rows with a change."""
    return body({"rows": [ROW, ROW]} | change, field, url="/predict_batch")


def columns(field: str, **values: Any) -> Bad:
    """A batch by column."""
    return body({"columns": values}, field, url="/predict_batch")


def data(value: object, field: str = "data") -> Bad:
    """A body of the claimed route."""
    return body({"data": value}, field, url="/predict/label")


def asked(url: str, status: int, field: str, method: str = "GET", content: bytes = b"", **more: Any) -> Bad:
    """A request whose address or method is what is wrong."""
    return Bad(content, status, field, url=url, method=method, **more)


def complaints(headers: Mapping[str, str], content: bytes) -> list[str]:
    """What is wrong with the form of a refusal: `{"error": …, "problems": [{field, found, expected}, …]}`."""
    found = []
    if headers.get("content-type") != "application/json":
        found.append(f"{headers.get('content-type')} instead of application/json")
    if len(content) >= LONGEST:
        found.append(f"{len(content)} bytes are too long for a sentence")
    if b"Traceback" in content:
        found.append("internals are shown")
    try:
        value = json.loads(content)
    except ValueError:
        return [*found, "not JSON"]
    if not isinstance(value, dict):
        return [*found, "an object expected"]
    if not isinstance(value.get("error"), str) or len(value["error"]) <= SHORTEST:
        found.append("no sentence in 'error'")
    problems = value.get("problems")
    if not problems or not isinstance(problems, list):
        return [*found, "no problems"]
    for problem in problems:
        texts = problem.values() if isinstance(problem, dict) else []
        if not isinstance(problem, dict) or {*problem} != {"field", "found", "expected"}:
            found.append("a problem without field, found and expected")
        elif not all(isinstance(text, str) for text in texts) or not (
            problem["found"] and problem["expected"]
        ):
            found.append("a problem whose field, found or expected is no text")
    return found
