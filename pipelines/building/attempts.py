"""Past retrainings of a model: what the decision looks at, so that nothing is tried for ever."""

import os
from datetime import datetime
from pathlib import Path

import msgspec

from contract.locks import exclusive
from contract.strict import decode_json, encode_json
from monitoring.decision import Attempt, Outcome, State, rejections
from pipelines.building.runs import in_flight
from pipelines.machine.files import replace
from pipelines.machine.settings import Settings

# `promoted` here: accepted and registered, and so the candidate for promotion. Where staging refuses it, this
# is corrected; whether a person promotes it is decided later and elsewhere, and the ledger says so.
OUTCOMES: dict[str, Outcome] = {"accepted": "promoted", "kept": "kept", "failed": "failed"}


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One ended retraining, as one line of the file."""

    started: datetime
    candidate: str
    outcome: Outcome
    digest: str = ""  # of the bundle it made; a later line about the same one corrects this one


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


def add(model: str, attempt: Attempt, settings: Settings, digest: str = "") -> None:
    """Record an ended retraining durably, once, with the `digest` of the bundle that it made, if any."""
    path = _path(model, settings)
    with exclusive(path.with_suffix(".lock"), "record of a retraining"):
        if attempt not in _read(path):
            _append(path, Line(attempt.started, attempt.candidate, attempt.outcome, digest))


def staged(model: str, digest: str, settings: Settings, *, passed: bool) -> None:
    """Correct the outcome of the retraining that made the bundle `digest`, if one did, by what staging said.

    A challenger that staging refuses replaces no champion, whatever the gates thought of it.
    """
    path = _path(model, settings)
    if not path.exists() or not digest:
        return
    outcome: Outcome = "promoted" if passed else "failed"
    with exclusive(path.with_suffix(".lock"), "record of a retraining"):
        made = next((line for line in reversed(_lines(path)) if line.digest == digest), None)
        if made is not None and made.outcome != outcome:
            _append(path, msgspec.structs.replace(made, outcome=outcome))


def _append(path: Path, line: Line) -> None:
    """Add a line durably. A last one that a crash left torn is dropped first; the caller holds the lock."""
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
    return tuple(Attempt(item.started, item.candidate, item.outcome) for item in _lines(path))


def _lines(path: Path) -> list[Line]:
    """The attempts in order, each as last corrected."""
    found: dict[tuple[datetime, str, str, int], Line] = {}
    for number, text in enumerate(_whole(path).splitlines()):
        line = decode_json(text, Line, path.name)
        # Without a digest nothing can be corrected later: every such line is an attempt of its own.
        found[line.started, line.candidate, line.digest, -1 if line.digest else number] = line
    return list(found.values())


def _whole(path: Path) -> bytes:
    """The lines of `path` that were written to their end."""
    data = path.read_bytes() if path.exists() else b""
    return data[: data.rfind(b"\n") + 1]


def _path(model: str, settings: Settings) -> Path:
    return settings.var / "monitoring" / model / "attempts.jsonl"


def _reset_path(model: str, settings: Settings) -> Path:
    return settings.var / "monitoring" / model / "reset.json"
