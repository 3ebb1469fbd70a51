"""Past retrainings of a model: what the decision looks at, so that nothing is tried for ever."""

from datetime import datetime
from pathlib import Path

import msgspec

from contract.strict import decode_json
from monitoring.decision import Attempt, Outcome, State
from pipelines.machine.locks import exclusive
from pipelines.machine.settings import Settings

OUTCOMES: dict[str, Outcome] = {"accepted": "promoted", "kept": "kept", "failed": "failed"}


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One ended retraining, as one line of the file."""

    started: datetime
    candidate: str
    outcome: Outcome


def state(model: str, settings: Settings) -> State:
    """What has been done about `model` so far."""
    path = _path(model, settings)
    lines = path.read_bytes().splitlines() if path.exists() else []
    attempts = [decode_json(line, Line, path.name) for line in lines]
    return State(attempts=tuple(Attempt(item.started, item.candidate, item.outcome) for item in attempts))


def add(model: str, attempt: Attempt, settings: Settings) -> None:
    """Record an ended retraining, once."""
    path = _path(model, settings)
    if attempt in state(model, settings).attempts:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    line = Line(attempt.started, attempt.candidate, attempt.outcome)
    with exclusive(path.with_suffix(".lock"), "record of a retraining"), path.open("ab") as file:
        file.write(msgspec.json.encode(line) + b"\n")


def _path(model: str, settings: Settings) -> Path:
    return settings.var / "monitoring" / model / "attempts.jsonl"
