"""How often held-out rows were asked: one line for each bundle that was judged on them.

A period that decides between many models ends up choosing the one that suits it by chance. The count is of
bundles, not of looks: judging one bundle again says nothing new.
"""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import polars as pl

from contract.errors import FlightlineError
from contract.locks import exclusive
from contract.strict import decode_json
from pipelines.machine.files import replace
from pipelines.machine.settings import Settings
from training.model import ID, LABEL


class Use(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A bundle was judged on a period."""

    at: str  # ISO 8601 UTC
    period: str
    digest: str


def period(test: pl.DataFrame) -> str:
    """sha256 over the ids and labels of the held-out rows.

    The hash of the table itself would change with every feature that is added, and the same rows would seem
    never to have been asked before.
    """
    rows = test.select(ID, LABEL).sort(ID)
    return hashlib.sha256(rows.write_csv().encode()).hexdigest()


def would_use(settings: Settings, model: str, held_out: str, digest: str) -> int:
    """What `uses` would return, without noting anything.

    Raises:
        FlightlineError: what was noted before cannot be read.
    """
    path = settings.held_out(model)
    seen = [use.digest for use in _noted(path) if use.period == held_out]
    return [*seen, digest].index(digest) + 1


def uses(settings: Settings, model: str, held_out: str, digest: str) -> int:
    """Note that the bundle `digest` is judged on the period `held_out`; safe to repeat.

    Returns:
        How many different bundles had been judged on it when this one first was, itself included.

    Raises:
        FlightlineError: what was noted before cannot be read, or another process holds the file.
    """
    path = settings.held_out(model)
    with exclusive(path.with_suffix(".lock"), f"count of the held-out rows of {model}"):
        seen = [use.digest for use in _noted(path) if use.period == held_out]
        if digest not in seen:
            use = Use(datetime.now(UTC).isoformat(timespec="seconds"), held_out, digest)
            # The whole file at once: a line that is cut short would be a use that nobody can count.
            before = path.read_bytes() if path.is_file() else b""
            replace(path, before + msgspec.json.encode(use) + b"\n")
            seen.append(digest)
        return seen.index(digest) + 1


def _noted(path: Path) -> list[Use]:
    found = []
    data = path.read_bytes() if path.is_file() else b""
    for number, line in enumerate(data.splitlines(), 1):
        try:
            found.append(decode_json(line, Use, f"{path}, line {number}"))
        except FlightlineError as error:
            raise FlightlineError(
                error.found,
                error.expected,
                f"Restore {path}; without it nobody knows how often rows were used",
            ) from None
    return found
