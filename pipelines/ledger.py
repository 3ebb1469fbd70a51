"""Every change of what runs, one line each, append-only: `python -m pipelines.ledger`.

A line holds the hash of the one before it, so that an edited, removed or inserted line is found. The hash of
the last line is kept in `ledger.head` beside it: without that, removing the last lines would leave no trace.
Whoever may write both files can still rewrite the past; copies elsewhere are the remedy for that.
"""

import argparse
import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from contract.errors import ConfigError, FlightlineError
from contract.locks import exclusive
from contract.strict import decode_json, near_miss
from pipelines.cli import OK, command
from pipelines.machine.files import replace
from pipelines.machine.settings import Settings
from training.model import names

# A refused version was tried and did not stay: such a line says what was not done, and changes nothing.
Action = Literal["deploy", "rollback", "forward", "refused"]


class Placed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One version of a model and its bundle."""

    version: str
    digest: str


class Entry(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"before": "from", "after": "to"}
):
    """One change: where, what, from what to what, by whom and why."""

    at: datetime
    environment: str
    model: str
    action: Action
    before: Placed | None
    after: Placed
    who: str
    why: str
    evidence: str  # sha256 of the signed evidence that allowed it; empty where none was asked for
    previous: str = ""  # hash of the line before; empty on the first line
    hash: str = ""


def append(path: Path, entry: Entry) -> Entry:
    """Add `entry` durably to the ledger `path` and return it as written, chained to the line before.

    A last line that a crash left torn is kept aside as `ledger.torn-N` first: it never took effect.

    Raises:
        FlightlineError: the ledger does not verify; nothing is added to a record that was changed. Or the
            disk refuses: then the entry is not there, or, where only the head could not follow, is.
    """
    try:
        return _append(path, entry)
    except OSError as error:
        raise FlightlineError(
            f"{path.name} cannot be written ({error.strerror or error})",
            "a disk that takes one line more",
            f"Make room where {path.parent} lies and run this again",
        ) from error


def _append(path: Path, entry: Entry) -> Entry:
    path.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(path.with_suffix(".lock"), "ledger entry"):
        _repair(path)
        entries = read(path)
        chained = msgspec.structs.replace(entry, previous=entries[-1].hash if entries else "")
        sealed = msgspec.structs.replace(chained, hash=_hash(chained))
        with path.open("ab") as file:
            file.write(_encode(sealed) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        replace(_head(path), sealed.hash.encode() + b"\n")
    return sealed


def read(path: Path) -> list[Entry]:
    """All entries, oldest first, once the chain is found intact. A torn last line is not an entry.

    Raises:
        FlightlineError: a line was edited, removed or inserted.
    """
    # Before the lines: a writer adds the line first, so the lines are never older than this.
    head = _head(path).read_text(errors="replace").strip() if _head(path).exists() else ""
    data = path.read_bytes() if path.exists() else b""
    entries: list[Entry] = []
    for number, line in enumerate(data.splitlines(keepends=True), start=1):
        if not line.endswith(b"\n"):
            break
        entry = decode_json(line, Entry, f"{path.name}, line {number}")
        if entry.hash != _hash(entry) or entry.previous != (entries[-1].hash if entries else ""):
            raise FlightlineError(
                f"{path.name}, line {number} was edited, or a line before it removed or inserted",
                "an append-only record",
                f"Restore {path} from a backup",
            )
        entries.append(entry)
    if head and head not in {entry.hash for entry in entries}:
        raise FlightlineError(
            f"{path.name} does not end with the line {head[:12]} that {_head(path).name} names",
            "an append-only record",
            f"Restore both from a backup of {path.parent}",
        )
    return entries


def live(entries: Sequence[Entry], environment: str, model: str, at: datetime | None = None) -> Placed | None:
    """What `environment` ran of `model` at the moment `at` (default: after the last change), or None."""
    of_it = history(entries, environment, model)
    seen = [entry for entry in of_it if at is None or entry.at <= at]
    return seen[-1].after if seen else None


def history(entries: Sequence[Entry], environment: str, model: str) -> list[Entry]:
    """The changes of one model in one environment, oldest first; not what was refused."""
    return [
        entry
        for entry in entries
        if entry.environment == environment and entry.model == model and entry.action != "refused"
    ]


def models(entries: Sequence[Entry], environment: str) -> list[str]:
    """The models that an environment has ever run."""
    return sorted(
        {entry.model for entry in entries if entry.environment == environment and entry.action != "refused"}
    )


def parse_moment(text: str) -> datetime:
    """A date (its first moment) or a time in ISO 8601; without a zone it is UTC.

    Raises:
        FlightlineError: it is neither.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise FlightlineError(
            f"'{text}' is not a moment",
            "a date or time such as 2013-06-01 or 2013-06-01T12:00Z",
            "Correct it",
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def main(argv: list[str] | None = None) -> int:
    """Show the ledger, or what was live at a moment, or verify the chain."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m pipelines.ledger --at 2013-06-01 --model flights",
    )
    parser.add_argument("action", nargs="?", choices=["show", "verify"], default="show")
    parser.add_argument(
        "--at",
        help="what was live at this moment (ISO 8601, UTC unless it says otherwise; a date is its 00:00)",
    )
    parser.add_argument("--model", help="only this model")
    parser.add_argument("--environment", help="only this environment")
    parser.add_argument("--json", action="store_true", help="for a program to read")
    options = parser.parse_args(argv)
    settings = Settings.from_environment()
    path = settings.ledger
    entries = read(path)
    _require_known(options.model, {*names(), *(entry.model for entry in entries)}, "model")
    _require_known(options.environment, settings.environments, "environment")
    if options.action == "verify":
        print(f"{path}: {len(entries)} line(s), chain intact{_torn_note(path)}{_head_note(path, entries)}")
        return OK
    chosen = [
        entry
        for entry in entries
        if options.model in {None, entry.model} and options.environment in {None, entry.environment}
    ]
    if options.at:
        moment = parse_moment(options.at)
        ran = [entry for entry in chosen if entry.action != "refused" and entry.at <= moment]
        latest = {(entry.environment, entry.model): entry for entry in ran}
        chosen = list(latest.values())
    if options.json:
        print(json.dumps(msgspec.to_builtins(chosen), indent=2))
    else:
        print("\n".join(_line(entry) for entry in chosen) or "nothing was live" + _torn_note(path))
    return OK


def _require_known(name: str | None, known: Iterable[str], what: str) -> None:
    """A misspelt name would look like one that never ran."""
    if name is not None and name not in known:
        there_are = sorted(known)
        raise ConfigError(
            f"{what} '{name}' is unknown{near_miss(name, there_are)}",
            " or ".join(there_are),
            "Name one of them",
        )


def _line(entry: Entry) -> str:
    origin = f"{entry.before.version} → " if entry.before else ""
    return (
        f"{entry.at:%Y-%m-%d %H:%M:%S}Z  {entry.environment:<11} {entry.model:<10} {entry.action:<8} "
        f"{origin}{entry.after.version} ({entry.after.digest[:12]})  {entry.who}: {entry.why}"
    )


def _encode(entry: Entry) -> bytes:
    return msgspec.json.encode(entry, order="sorted")


def _hash(entry: Entry) -> str:
    return hashlib.sha256(_encode(msgspec.structs.replace(entry, hash=""))).hexdigest()


def _head(path: Path) -> Path:
    return path.with_suffix(".head")


def _head_note(path: Path, entries: Sequence[Entry]) -> str:
    absent = entries and not _head(path).exists()
    return f" (without {_head(path).name} a removed last line would not be noticed)" if absent else ""


def _torn(path: Path) -> bytes:
    """What follows the last newline: the beginning of a line whose writing was cut off."""
    return path.read_bytes().rpartition(b"\n")[2] if path.exists() else b""


def _torn_note(path: Path) -> str:
    return " (a torn last line is ignored; the next change sets it aside)" if _torn(path) else ""


def _repair(path: Path) -> None:
    fragment = _torn(path)
    if not fragment:
        return
    number = 1
    while (aside := path.with_suffix(f".torn-{number}")).exists():
        number += 1
    replace(aside, fragment)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - len(fragment))
        os.fsync(file.fileno())


if __name__ == "__main__":
    command(main)
