"""What happened, as it becomes known: `POST /events`, from which stream features are computed."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from contract.errors import ConfigError
from contract.strict import convert
from serving.features.completion import Completer
from serving.features.facts import Fact, microseconds
from serving.features.origins import KEY_LENGTH
from serving.features.store import Event, EventError, StoreError
from serving.http import bodies
from serving.http.admission import Admission
from serving.http.bodies import ID_LENGTH, RefusedError
from serving.http.replies import again, known_parameters, reply
from serving.models.versions import Versions
from serving.rows import MOST_PROBLEMS, Problem

EVENTS = 1_000  # a request
FACTS = 64  # an event
# A year of events each as large as this still adds up to less than 64 bits.
LARGEST = 10**12
FIRST, LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)  # exact in a double


class EventsBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of /events."""

    events: list[Any]


class SentEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One event as it is sent: its id, its stream, when it became known, its keys and values."""

    id: str
    stream: str
    at: str
    facts: dict[str, Fact]


class Events:
    """The endpoint that takes events in."""

    def __init__(self, versions: Versions, completer: Completer | None, admission: Admission) -> None:
        """Keep whose features they are, where they go, and how many may be on their way."""
        self._versions, self._completer, self._admission = versions, completer, admission

    async def post(self, request: Request) -> Response:
        """Take in all events of a request or none; one whose id is known changes nothing."""
        known_parameters(request, set())
        completer = self._completer
        if completer is None:
            problem = Problem("path", "/events", "another route: this service keeps no online store")
            raise RefusedError(404, "this service keeps no online store", [problem])
        if not self._versions.ready:
            raise again("no model says yet which events it reads")
        data = await bodies.read_bytes(request, bodies.BATCH_BYTES)
        with self._admission.request():  # before it is decoded: that takes long, too
            sent = bodies.decode_body(data, EventsBody).events
            with self._admission.batch(len(sent)):
                return await self._take_in(completer, sent)

    async def _take_in(self, completer: Completer, sent: Sequence[Any]) -> Response:
        events = read_events(sent)
        contracts = [
            served.predictor.contract
            for model in self._versions.current.loaded.values()
            for served in model.versions.values()
        ]
        try:
            counted = await run_in_threadpool(completer.accept, contracts, events)
        except EventError as error:
            problem = Problem(f"events[{error.index}]", error.found, error.expected)
            raise RefusedError(422, f"events[{error.index}]: {error}", [problem]) from None
        except StoreError as error:
            raise again(str(error)) from None
        return reply(asdict(counted))


def read_events(sent: Sequence[Any]) -> list[Event]:
    """The events of a body.

    Raises:
        RefusedError: 422, there are none or too many, or one is not an event.
    """
    if not 1 <= len(sent) <= EVENTS:
        problem = Problem("events", f"{len(sent)} events", f"1 to {EVENTS}")
        raise RefusedError(422, f"there are {len(sent)} events; expected 1 to {EVENTS}", [problem])
    problems: list[Problem] = []
    events = []
    for index, item in enumerate(sent):
        try:
            events.append(_event(item, f"events[{index}]"))
        except _WrongError as error:
            problems.append(error.problem)
            if len(problems) >= MOST_PROBLEMS:
                break
    if problems:
        count = len(problems)
        raise RefusedError(422, f"{count} problem{'s' * (count > 1)} with the events", problems)
    return events


class _WrongError(Exception):
    """One event is not one."""

    def __init__(self, field: str, found: str, expected: str) -> None:
        super().__init__(field)
        self.problem = Problem(field, found, expected)


def _event(item: Any, place: str) -> Event:
    if not isinstance(item, dict) or len(item) > len(SentEvent.__struct_fields__):
        raise _WrongError(place, "something else", "an object of id, stream, at and facts")
    try:
        event = convert(item, SentEvent, place)
    except ConfigError as error:
        raise _WrongError(place, error.found[:200], error.expected) from None
    for name, word, most in (("id", event.id, ID_LENGTH), ("stream", event.stream, KEY_LENGTH)):
        if not 1 <= len(word) <= most:
            raise _WrongError(f"{place}.{name}", f"{len(word)} characters", f"1 to {most}")
    if len(event.facts) > FACTS:
        raise _WrongError(f"{place}.facts", f"{len(event.facts)} of them", f"at most {FACTS}")
    for name, value in event.facts.items():
        if isinstance(value, str) and len(value) > KEY_LENGTH:
            raise _WrongError(f"{place}.facts.{name[:80]}", f"{len(value)} characters", f"up to {KEY_LENGTH}")
        if isinstance(value, int | float) and not abs(value) <= LARGEST:
            raise _WrongError(f"{place}.facts.{name[:80]}", "a huge number", f"at most {LARGEST:g} in size")
    return Event(event.id, event.stream, microseconds(_moment(event.at, f"{place}.at")), event.facts)


def _moment(value: str, place: str) -> datetime:
    """When an event became known; it may lie in the future, and then counts from then on."""
    try:
        moment = msgspec.convert(value[:40], datetime)
        if moment.tzinfo is not None and FIRST <= moment <= LAST:
            return moment.astimezone(UTC)
    except (msgspec.ValidationError, OverflowError):
        pass
    raise _WrongError(place, f"'{value[:40]}'", "an RFC 3339 moment with its offset, from 1970 to 2200")
