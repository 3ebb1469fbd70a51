"""What may be asked of the admin API, read strictly, and what each call does."""

import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from contract.errors import ConfigError, FlightlineError
from contract.strict import convert
from serving.admin import document
from serving.admin.calls import Done, LateError, RefusedError, perform
from serving.models import changes
from serving.models.changes import InUseError, NotThereError
from serving.models.desired import BusyError, Desired, read_acks, read_desired
from serving.models.workers import live_workers

T = TypeVar("T")
Change = Callable[[Desired], Desired]

WAIT_S, MOST_WAIT_S = 30.0, 120.0
_PATH = re.compile(
    r"/models/(?P<model>[^/]{1,80})/(?:versions/(?P<version>[^/]{1,64})|(?P<what>default|split|mirror))"
)


class LoadBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a version lies, and what it must be."""

    release: str
    digest: str
    older_contract: bool = False


class DefaultBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The version that is to answer."""

    version: str
    older_contract: bool = False


class SplitBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Percent by version."""

    split: dict[str, float]
    older_contract: bool = False


class MirrorBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Percent by version."""

    mirror: dict[str, float]


@dataclass(frozen=True)
class Answer:
    """A status and an object."""

    status: int
    body: dict[str, Any]


class Asked(Exception):  # noqa: N818 - an answer on its way out
    """A request that is answered with a status and a sentence instead of a change."""

    def __init__(self, status: int, found: str, expected: str, field: str) -> None:
        """Keep what the answer will say."""
        super().__init__(found)
        self.answer = refusal(status, f"{found}; expected {expected}", found, expected, field)


def refusal(status: int, sentence: str, found: str, expected: str, field: str) -> Answer:
    """A refusal in the form that the public API has, too."""
    problems = [{"field": field, "found": found, "expected": expected}]
    return Answer(status, {"error": sentence, "problems": problems})


def answer(state: Path, method: str, path: str, query: dict[str, list[str]], body: bytes) -> Answer:
    """Do what a request with a right token asks for; every refusal is an answer, too."""
    try:
        return _answer(state, method, path, query, body)
    except Asked as asked:
        return asked.answer
    except NotThereError as error:
        return refusal(404, str(error), error.found, error.expected, error.field)
    except InUseError as error:
        return refusal(409, str(error), error.found, error.expected, "version")
    except BusyError as error:
        return refusal(409, str(error), error.found, error.expected, "generation")
    except LateError as error:
        late = refusal(504, str(error), error.found, error.expected, "workers")
        return Answer(504, {**late.body, "generation": error.generation, "lacking": error.lacking})
    except RefusedError as error:
        return refusal(422, str(error), error.found, error.expected, "release")
    except ConfigError as error:
        field = path.rpartition("/")[2]
        field = field if field in {"split", "mirror"} else "version"
        return refusal(422, str(error), error.found, error.expected, field)
    except (FlightlineError, OSError) as error:
        return refusal(500, str(error), str(error), "a state folder that can be read and written", "state")


def _answer(state: Path, method: str, path: str, query: dict[str, list[str]], body: bytes) -> Answer:
    match = _PATH.fullmatch(path)
    if match is None:
        if path not in {"/models", "/openapi.json"}:
            raise Asked(404, f"there is no {path[:200]}", ", ".join(document.PATHS), "path")
        _only(method, "GET", path)
        _parameters(query, set())
        return Answer(200, listing(state) if path == "/models" else document.document())
    wait_s = _wait(query)
    model, version = match["model"], match["version"]
    if version and method == "DELETE":
        if body:
            raise Asked(422, "the request has a body", "none", "body")
        change: Change = lambda before: changes.unload(before, model, version)  # noqa: E731 - one of five alike
    else:
        _only(method, "PUT" if not version else "PUT, DELETE", path)
        change = _change(model, version or "", match["what"] or "", body)
    return _done(state, model, perform(state, model, change, wait_s))


def _change(model: str, version: str, what: str, body: bytes) -> Change:
    """What a PUT asks for."""
    if version:
        wanted = _read(body, LoadBody)
        if re.fullmatch("[0-9a-f]{64}", wanted.digest) is None:
            raise Asked(422, f"the digest is '{wanted.digest[:80]}'", "64 hexadecimal digits", "digest")
        if not wanted.release.startswith("/"):
            raise Asked(422, f"the release is '{wanted.release[:200]}'", "an absolute path", "release")
        return lambda before: changes.load(
            before, model, version, wanted.release, wanted.digest, older_contract=wanted.older_contract
        )
    if what == "default":
        named = _read(body, DefaultBody)
        return lambda before: changes.make_default(
            before, model, named.version, older_contract=named.older_contract
        )
    if what == "split":
        shared = _read(body, SplitBody)
        return lambda before: changes.set_split(
            before, model, shared.split, older_contract=shared.older_contract
        )
    mirrored = _read(body, MirrorBody)
    return lambda before: changes.set_mirror(before, model, mirrored.mirror)


def listing(state: Path) -> dict[str, Any]:
    """What is desired, and what each live worker has made of it."""
    desired, live = read_desired(state) or changes.EMPTY, live_workers(state)
    acks = read_acks(state)
    return {
        "generation": desired.generation,
        "default": desired.default,
        "models": {name: _plain(model) for name, model in desired.models.items()},
        "workers": {
            worker: msgspec.to_builtins(acks[worker]) if worker in acks else None for worker in sorted(live)
        },
    }


def _plain(model: Any) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(model)
    return {"split": {}, "mirror": {}, "older_contract": False, **plain}


def _done(state: Path, model: str, done: Done) -> Answer:
    desired = read_desired(state)
    known = desired.models.get(model) if desired else None
    return Answer(200, {**asdict(done), "model": _plain(known) if known else None})


def _only(method: str, allowed: str, path: str) -> None:
    if method not in allowed.split(", "):
        raise Asked(405, f"{method} is not a method of {path[:200]}", allowed, "method")


def _parameters(query: dict[str, list[str]], known: set[str]) -> None:
    for name in sorted(set(query) - known):
        expected = ", ".join(sorted(known)) or "no parameter"
        raise Asked(422, f"unknown parameter '{name[:80]}'", expected, name[:80])


def _wait(query: dict[str, list[str]]) -> float:
    """Seconds that a caller is ready to wait."""
    _parameters(query, {"wait"})
    given = query.get("wait", [str(WAIT_S)])
    try:
        seconds = float(given[0]) if len(given) == 1 else 0.0
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= MOST_WAIT_S:
        raise Asked(
            422, f"wait is '{given[0][:80]}'", f"seconds, more than 0 and up to {MOST_WAIT_S:g}", "wait"
        )
    return seconds


def _read(body: bytes, into: type[T]) -> T:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Asked(400, f"the body is not JSON ({error})", "a JSON object", "body") from None
    json.loads(body, object_pairs_hook=_once, parse_int=str, parse_float=str)
    try:
        return convert(value, into, "body")
    except ConfigError as error:
        raise Asked(422, error.found, error.expected, "body") from None


def _once(pairs: list[tuple[str, Any]]) -> None:
    """Refuse a key that its object has already: of two values the decoder silently keeps the last."""
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise Asked(422, f"'{key[:80]}' is given more than once", "it once", "body")
        seen.add(key)
