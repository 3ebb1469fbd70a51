"""Moving an alias for certain: written down before anything runs, applied once MLflow answers.

A rollback must work while MLflow is down, and whatever is cut off half-way, the alias must not bring the bad
version back. Notes are read and written only by whoever holds the environment's lock.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from contract.errors import ConfigError, FlightlineError
from contract.strict import decode_json, encode_json
from pipelines.delivery.refusals import clear_refusal
from pipelines.delivery.registry import Registry, connect
from pipelines.delivery.tracking_server import NoAnswerError
from pipelines.ledger import live, read
from pipelines.machine.environments import PRODUCTION
from pipelines.machine.files import replace
from pipelines.machine.processes import Say
from pipelines.machine.settings import Settings


class Pending(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An environment's alias that is to name what the ledger will say is live."""

    environment: str
    model: str
    alias: str
    version: str
    instead_of: tuple[str, ...]  # versions that it may be taken from; anywhere else a person put it


@contextmanager
def following(
    pending: Pending, settings: Settings, say: Say, registry: Registry | None = None
) -> Iterator[None]:
    """Note the move, let the block place the version, then move the alias.

    A block that fails takes the note back, unless the ledger says that the version is live all the same.
    Without a `registry` a connection is opened after the block; the note stays when MLflow does not answer.
    """
    path = _path(pending.environment, pending.model, settings)
    older = path.read_bytes() if path.exists() else None
    noted = _write(pending, path)
    try:
        yield
    except BaseException:  # Ctrl-C too: what did not happen leaves no note
        if not _is_live(pending, settings):
            if older is None:
                path.unlink(missing_ok=True)
            else:
                replace(path, older)
        raise
    try:
        _apply(noted, path, registry or connect(settings), say)
    except NoAnswerError as error:
        say(
            f"the alias '{pending.alias}' of {pending.model} is not moved yet ({error.found}); "
            "it will be when MLflow answers"
        )


def settle(environment: str, settings: Settings, registry: Registry, say: Say = print) -> None:
    """Apply what was noted while MLflow did not answer, or by a command that was cut off.

    A note about a version that is not live was never carried out, or is overtaken, and is dropped.

    Raises:
        NoAnswerError: MLflow does not answer; the notes stay.
    """
    for path in sorted((settings.var / "pending-aliases").glob(f"{environment}.*.json")):
        try:
            noted = decode_json(path.read_bytes(), Pending, path.name)
        except ConfigError as error:
            _set_aside(path, error, say)
            continue
        if _is_live(noted, settings):
            _apply(noted, path, registry, say)
        else:
            path.unlink()


def awaited(environment: str, model: str, settings: Settings) -> str:
    """The version to which the alias is to go once it is live and MLflow answers; empty: none is noted."""
    try:
        return decode_json(_path(environment, model, settings).read_bytes(), Pending, "a note").version
    except (FileNotFoundError, ConfigError):  # a damaged note is set aside, and said, by who applies it
        return ""


def _apply(pending: Pending, path: Path, registry: Registry, say: Say) -> None:
    """Move the alias unless a person did, and take off the version what it was refused for.

    A note that can never be applied is set aside.
    """
    model, alias = pending.model, pending.alias
    try:
        kept = registry.swap_alias(model, alias, pending.version, pending.instead_of)
        if pending.environment == PRODUCTION:  # it runs now, whatever was once said against it
            clear_refusal(registry, registry.by_number(model, pending.version))
    except NoAnswerError:
        raise
    except FlightlineError as error:
        _set_aside(path, error, say)
        return
    if kept is not None:
        say(f"the alias '{alias}' of {model} was moved to version {kept} meanwhile and stays there")
    path.unlink(missing_ok=True)


def _write(pending: Pending, path: Path) -> Pending:
    """Keep the note; a version that an older one was still to replace may be replaced by this one too."""
    former: tuple[str, ...] = ()
    try:
        older = decode_json(path.read_bytes(), Pending, path.name)
        former = (*older.instead_of, older.version)
    except (FileNotFoundError, ConfigError):
        pass
    names = sorted({*pending.instead_of, *former} - {pending.version})
    merged = msgspec.structs.replace(pending, instead_of=tuple(names))
    replace(path, encode_json(merged))
    return merged


def _is_live(pending: Pending, settings: Settings) -> bool:
    placed = live(read(settings.ledger), pending.environment, pending.model)
    return placed is not None and placed.version == pending.version


def _set_aside(path: Path, error: FlightlineError, say: Say) -> None:
    number = 1
    while (aside := path.with_suffix(f".set-aside-{number}")).exists():
        number += 1
    path.rename(aside)
    say(f"a pending alias cannot be moved and is set aside as {aside}: {error}")


def _path(environment: str, model: str, settings: Settings) -> Path:
    return settings.var / "pending-aliases" / f"{environment}.{model}.json"
