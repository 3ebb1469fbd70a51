"""What a request may carry, and how anything else is refused."""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import uuid4

import msgspec
from starlette.requests import ClientDisconnect, Request

from contract.errors import ConfigError
from contract.strict import convert, near_miss
from serving.rows import NAME_LENGTH, Problem

T = TypeVar("T")

SINGLE_BYTES = 1024 * 1024
BATCH_BYTES = 4 * 1024 * 1024
BATCH_ROWS = 1_000
ID_LENGTH = 200

_COLON = re.compile(rb'"[ \t\r\n]*:')
_BYTE = re.compile(r"\(byte ([0-9]+)\)")  # where msgspec gave up
_NO_NUMBER = re.compile(rb"[^NI]?(NaN|Infinity)")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")


class RefusedError(Exception):
    """A request that is answered with a status and a sentence instead of a prediction."""

    def __init__(
        self,
        status: int,
        error: str,
        problems: Sequence[Problem] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        """Keep the HTTP status, the sentence and its details."""
        super().__init__(error)
        self.headers = headers
        self.status, self.error, self.problems = status, error, tuple(problems)


class PredictBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of /predict."""

    row: dict[str, Any]
    id: str | None = None
    at: str | None = None
    keys: dict[str, Any] | None = None  # of stored features, where they are no features themselves


class DataBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a route that a contract claims: one row, values in the order of declaration."""

    data: list[Any]
    id: str | None = None
    at: str | None = None
    keys: dict[str, Any] | None = None


async def read_body(request: Request, into: type[T], limit: int) -> T:
    """The body of `request` as `into`, refused from its headers where they already say enough.

    Raises:
        RefusedError: 413, 415, 400 or 422.
    """
    return decode_body(await read_bytes(request, limit), into)


async def read_bytes(request: Request, limit: int) -> bytearray:
    """The body of `request`, which says that it is JSON.

    Raises:
        RefusedError: 413, 415 or 400.
    """
    _check_headers(request, limit)
    data = bytearray()
    try:
        async for chunk in request.stream():
            data += chunk
            if len(data) > limit:
                raise too_large(limit)
    except ClientDisconnect:
        raise not_whole("only a part of it", "the caller went away before the body was complete") from None
    return data


def decode_body(data: bytearray, into: type[T]) -> T:
    """`data` as `into`.

    Raises:
        RefusedError: 400 or 422.
    """
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise no_json(data, str(error)) from None
    except RecursionError:
        raise not_whole("nesting without end", "the body is nested too deeply") from None
    _check_keys(value, into)
    _check_once(data, value)
    try:
        return convert(value, into, "body")
    except ConfigError as error:
        raise RefusedError(422, str(error), [Problem("body", error.found, error.expected)]) from None


def check_entity(value: str | None, place: str) -> str | None:
    """An entity id as it may be logged.

    Raises:
        RefusedError: 422, it is empty or too long.
    """
    if value is not None and not 1 <= len(value) <= ID_LENGTH:
        problem = Problem(place, f"{len(value)} characters", f"1 to {ID_LENGTH}")
        raise RefusedError(
            422, f"'{place}' has {len(value)} characters; expected 1 to {ID_LENGTH}", [problem]
        )
    return value


def check_moment(value: str | None, place: str, clock: str, now: datetime) -> datetime:
    """The moment of a prediction: `now`, or the caller's where the environment's clock allows it.

    Raises:
        RefusedError: 422, the clock is wall time, or the moment is not RFC 3339 with an offset.
    """
    if value is None:
        return now
    if clock != "request":
        sentence = f"'{place}' is refused: this environment's clock is wall time"
        raise RefusedError(422, sentence, [Problem(place, "a moment", "nothing")])
    problem = Problem(place, f"'{value[:40]}'", "an RFC 3339 moment with its offset")
    try:
        moment = msgspec.convert(value, datetime)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (msgspec.ValidationError, OverflowError):
        pass
    raise RefusedError(422, f"'{place}' is not an RFC 3339 moment with its offset", [problem])


def request_id(request: Request) -> str:
    """The caller's X-Request-Id where it is short and plain, else a new one; one for all of a request."""
    known: str | None = request.scope.get("flightline.request_id")
    if known is None:
        sent = request.headers.get("x-request-id", "")
        known = plain_id(sent.encode("latin-1")) or uuid4().hex
        request.scope["flightline.request_id"] = known
    return known


def plain_id(sent: bytes) -> str:
    """`sent` where it is a plain id, else nothing: it is to stand in answers and in logs."""
    return sent.decode() if _REQUEST_ID.fullmatch(sent) else ""


def _check_headers(request: Request, limit: int) -> None:
    sent = ", ".join(request.headers.getlist("content-type"))
    kind, _, rest = sent.partition(";")
    charset = rest.strip().lower().replace('"', "")
    if kind.strip().lower() != "application/json" or charset not in {"", "charset=utf-8"}:
        found, expected = sent[:80] or "missing", "application/json in UTF-8"
        problem = Problem("content-type", found, expected)
        raise RefusedError(415, f"the content type is {found}; expected {expected}", [problem])
    coding = ", ".join(request.headers.getlist("content-encoding")) or "identity"
    if coding.lower() != "identity":
        problem = Problem("content-encoding", coding[:80], "identity, or none")
        raise RefusedError(415, "the body is encoded; expected it as it is", [problem])
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > limit:
        raise too_large(limit)


def _check_keys(value: object, into: type[Any]) -> None:
    """Refuse an unknown key here, where it is cut: `convert` would quote and compare all of it."""
    known: tuple[str, ...] = into.__struct_fields__
    unknown = next((key for key in value if key not in known), None) if isinstance(value, dict) else None
    if unknown is not None:
        name = unknown[:NAME_LENGTH]
        found = f"unknown key '{name}'{near_miss(name, list(known))}"
        expected = f"only {', '.join(known)}"
        raise RefusedError(422, f"body: {found}; expected {expected}", [Problem("body", found, expected)])


def _check_once(data: bytearray, value: object) -> None:
    """Refuse a key that its object has already: decoders let one of the two win without a word.

    Colons after a closing quote are counted first, which is cheap: where there are no more of them than keys
    were decoded, no key can have been lost.
    """
    keys = _count_keys(value)
    if keys is None or len(_COLON.findall(data)) == keys:
        return

    def once(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                name = key[:NAME_LENGTH]
                problem = Problem(name, "several values", "one")
                raise RefusedError(422, f"'{name}' is given more than once; expected once", [problem])
            seen.add(key)

    # Numbers as text: an integer of thousands of digits is refused elsewhere, and takes no time here.
    json.loads(data, object_pairs_hook=once, parse_int=str, parse_float=str)


def _count_keys(value: object) -> int | None:
    """The keys of a body and of its rows; None for one that is refused anyway: too long, or nested deeper."""
    if not isinstance(value, dict):
        return None
    count = len(value)
    for part in value.values():
        rows = part if isinstance(part, list) else [part]
        if len(rows) > BATCH_ROWS:
            return None
        for row in rows:
            if isinstance(row, dict):
                count += len(row)
                if any(isinstance(inner, dict | list) for inner in row.values()):
                    below = _count_below(row)
                    if below is None:
                        return None
                    count += below
    return count


def _count_below(row: dict[str, Any]) -> int | None:
    """The keys of the objects in a row, as events have them; None where something lies deeper.

    A list of plain values, as a column is one, has none.
    """
    count = 0
    for value in row.values():
        if isinstance(value, list):
            if any(isinstance(deeper, dict | list) for deeper in value):
                return None
        elif isinstance(value, dict):
            if any(isinstance(deeper, dict | list) for deeper in value.values()):
                return None
            count += len(value)
    return count


def no_json(data: bytearray, reason: str) -> RefusedError:
    """400; what Python and JavaScript write for numbers that JSON has not is named, and not only its byte."""
    where = _BYTE.search(reason)
    number = None if where is None else _NO_NUMBER.match(data, max(0, int(where[1]) - 1))
    if number is not None:
        reason = f"{number[1].decode()} is no number of JSON, and null is a missing one"
    return not_whole(f"no JSON: {reason}", f"the body is not JSON ({reason})")


def not_whole(found: str, sentence: str) -> RefusedError:
    """The refusal of a body that is no JSON, or not all of it."""
    return RefusedError(400, sentence, [Problem("body", found, "one JSON object in UTF-8")])


def too_large(limit: int) -> RefusedError:
    """The refusal of a body of more than `limit` bytes."""
    most = f"{limit // 1024} KiB"
    sentence = f"the body is larger than {most}, which is the most this route takes"
    return RefusedError(413, sentence, [Problem("body", f"more than {most}", f"at most {most}")])
