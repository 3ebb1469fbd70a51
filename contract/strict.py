"""Decode JSON and YAML values into typed structs, refusing unknown keys and naming the near miss."""

import difflib
import math
import re
from typing import Any, TypeVar, cast

import msgspec

from contract.errors import ConfigError

T = TypeVar("T")

_UNKNOWN = re.compile(r"unknown field `(?P<key>[^`]*)`")
_MISSING = re.compile(r"missing required field `(?P<key>[^`]*)`")
_AT = re.compile(r" - at `(?P<path>[^`]*)`")


def convert(value: object, into: type[T], where: str, *, finite: bool = True) -> T:
    """Turn plain `value` (dicts, lists, scalars) into the struct type `into`.

    `where` names the source for the error sentence, for example `params.yaml`. Only with `finite=False` may
    a number be NaN or infinite: YAML writes them as `.nan` and `.inf`, and every comparison with a limit of
    NaN is false, so that such a limit forbids nothing.

    Raises:
        ConfigError: a key is unknown or missing, a value has the wrong type, or a number is not finite.
    """
    if finite and not _is_finite(value):
        raise _not_finite(value, where)
    try:
        return msgspec.convert(value, into)
    except msgspec.ValidationError as error:
        raise _explain(error, into, where) from None


def decode_json(data: bytes, into: type[T], where: str) -> T:
    """Decode JSON bytes into `into`, with the same sentences as `convert`.

    Raises:
        ConfigError: the bytes are not JSON, or not of the type.
    """
    try:
        return msgspec.json.decode(data, type=into)
    except msgspec.ValidationError as error:
        raise _explain(error, into, where) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{where} is not JSON ({error})", "a JSON document", f"Restore {where} and run again"
        ) from None


def encode_json(value: object) -> bytes:
    """Canonical JSON: sorted keys, two spaces, one final newline, so that equal values are equal bytes."""
    return msgspec.json.format(msgspec.json.encode(value, order="sorted"), indent=2) + b"\n"


def near_miss(word: str, known: list[str]) -> str:
    """`, did you mean 'x'?` or nothing when no known word is close."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f", did you mean '{close[0]}'?" if close else ""


def _is_finite(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    return not isinstance(value, list | tuple) or all(map(_is_finite, value))


def _not_finite(value: object, where: str) -> ConfigError:
    """The sentence about the first number that is not finite; there is one."""
    path = ""
    while not isinstance(value, float):
        items = value.items() if isinstance(value, dict) else enumerate(cast("list[object]", value))
        key, inner = next((key, inner) for key, inner in items if not _is_finite(inner))
        step = str(key) if isinstance(value, dict) else f"[{key}]"
        path += step if not path or step.startswith("[") else f".{step}"
        value = inner
    place = f"{where}, {path}" if path else where
    return ConfigError(f"{place}: {value} is not finite", "a finite number", f"Correct it in {where}")


def _explain(error: msgspec.ValidationError, into: type[Any], where: str) -> ConfigError:
    text = str(error)
    at = _AT.search(text)
    path = at["path"].removeprefix("$").removeprefix(".") if at else ""
    place = f"{where}, {path}" if path else where
    unknown, missing = _UNKNOWN.search(text), _MISSING.search(text)
    if unknown:
        known = sorted(_keys(into))
        hint = near_miss(unknown["key"], known)
        return ConfigError(
            f"{place}: unknown key '{unknown['key']}'{hint}",
            "only known keys",
            f"Correct or remove it in {where}",
        )
    if missing:
        return ConfigError(
            f"{place}: key '{missing['key']}' is missing", "every required key", f"Add it to {where}"
        )
    detail = _AT.sub("", text)
    return ConfigError(f"{place}: {detail}", "a value of the declared type", f"Correct it in {where}")


def _keys(into: object, seen: set[int] | None = None) -> set[str]:
    """All field names reachable from a struct type: the words a misspelt key may have meant."""
    seen = seen if seen is not None else set()
    if id(into) in seen:
        return set()
    seen.add(id(into))
    found: set[str] = set()
    if isinstance(into, type) and issubclass(into, msgspec.Struct):
        for field in msgspec.structs.fields(into):
            found.add(field.encode_name)
            found |= _keys(field.type, seen)
    for argument in getattr(into, "__args__", ()):
        found |= _keys(argument, seen)
    return found
