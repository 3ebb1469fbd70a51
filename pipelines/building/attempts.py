"""Past retrainings of a model: what the decision looks at, so that nothing is tried for ever."""

import os
from datetime import datetime
from pathlib import Path

import msgspec

from contract.strict import decode_json, encode_json
from monitoring.decision import Attempt, Outcome, State, rejections
from pipelines.building.runs import in_flight
from pipelines.machine.files import replace
from pipelines.machine.locks import exclusive
from pipelines.machine.settings import Settings

# `promoted` here: accepted and registered, and so the candidate for promotion. Whether staging takes it and
# a person promotes it is decided later and elsewhere; the ledger says so.
OUTCOMES: dict[str, Outcome] = {"accepted": "promoted", "kept": "kept", "failed": "failed"}


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One ended retraining, as one line of the file."""

    started: datetime
    candidate: str
    outcome: Outcome


class Reset(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A person closed the circuit: attempts up to `reset_at` no longer count as rejections."""

    reset_at: datetime
    by: str


def state(model: str, settings: Settings) -> State:
    """What has been done about `model` so far, and whether a retraining is under way now."""
    path = _reset_path(model, settings)
    reset = decode_json(path.read_bytes(), Reset, path.name) if path.exists() else None
    return State(
        in_flight=in_flight(settings),
        attempts=_read(_path(model, settings)),
        reset_at=reset.reset_at if reset else None,
    )


def add(model: str, attempt: Attempt, settings: Settings) -> None:
    """Record an ended retraining durably, once. A last line that a crash left torn is dropped first."""
    path = _path(model, settings)
    line = Line(attempt.started, attempt.candidate, attempt.outcome)
    with exclusive(path.with_suffix(".lock"), "record of a retraining"):
        if attempt in _read(path):
            return
        with path.open("ab") as file:
            file.truncate(len(_whole(path)))
            file.write(msgspec.json.encode(line) + b"\n")
            file.flush()
            os.fsync(file.fileno())


def reset(model: str, settings: Settings) -> int:
    """Close the circuit: rejections so far no longer count. Answers how many there were in a row.

    It ends at the last attempt's own moment rather than now, so that it also holds in a replay of the past.
    """
    past = state(model, settings)
    refused = rejections(past)
    if refused:
        latest = max(attempt.started for attempt in past.attempts)
        replace(_reset_path(model, settings), encode_json(Reset(latest, settings.actor)))
    return refused


def _read(path: Path) -> tuple[Attempt, ...]:
    lines = [decode_json(line, Line, path.name) for line in _whole(path).splitlines()]
    return tuple(Attempt(item.started, item.candidate, item.outcome) for item in lines)


def _whole(path: Path) -> bytes:
    """The lines of `path` that were written to their end."""
    data = path.read_bytes() if path.exists() else b""
    return data[: data.rfind(b"\n") + 1]


def _path(model: str, settings: Settings) -> Path:
    return settings.var / "monitoring" / model / "attempts.jsonl"


def _reset_path(model: str, settings: Settings) -> Path:
    return settings.var / "monitoring" / model / "reset.json"
