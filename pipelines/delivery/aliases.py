"""Moving an alias for certain: written down first, applied when MLflow answers.

A rollback must work while MLflow is down, and the alias must not bring the bad version back afterwards.
"""

from pathlib import Path

import msgspec

from contract.errors import FlightlineError
from contract.strict import decode_json, encode_json
from pipelines.delivery.registry import Registry, connect
from pipelines.machine.files import replace
from pipelines.machine.processes import Say
from pipelines.machine.settings import Settings


class Pending(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An alias that is to point at a version, or at none."""

    model: str
    alias: str
    version: str | None


def move(settings: Settings, model: str, alias: str, version: str | None, say: Say = print) -> bool:
    """Point `alias` at `version`; when MLflow does not answer, note it for `settle` and return False."""
    pending = Pending(model=model, alias=alias, version=version)
    path = _folder(settings) / f"{model}.{alias}.json"
    replace(path, encode_json(pending))
    try:
        connect(settings).set_alias(model, alias, version)
    except FlightlineError as error:
        say(
            f"the alias '{alias}' of {model} is not moved yet ({error.found}); it will be when MLflow answers"
        )
        return False
    path.unlink(missing_ok=True)
    return True


def settle(settings: Settings, registry: Registry, say: Say = print) -> list[Pending]:
    """Apply what was noted while MLflow did not answer."""
    settled: list[Pending] = []
    for path in sorted(_folder(settings).glob("*.json")):
        pending = decode_json(path.read_bytes(), Pending, path.name)
        registry.set_alias(pending.model, pending.alias, pending.version)
        path.unlink()
        say(f"the alias '{pending.alias}' of {pending.model} now points at version {pending.version}")
        settled.append(pending)
    return settled


def _folder(settings: Settings) -> Path:
    return settings.var / "pending-aliases"
