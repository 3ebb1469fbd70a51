"""Which releases stay on this machine: all that may be needed with the registry stopped, and no more."""

import shutil
import time
from collections.abc import Iterator

from contract.errors import FlightlineError
from contract.locks import exclusive
from pipelines.delivery.backend import backend
from pipelines.delivery.trail import trail
from pipelines.ledger import Entry, models, read
from pipelines.machine.files import scratch
from pipelines.machine.processes import Say
from pipelines.machine.settings import Settings

GRACE_S = 3600.0  # a deployment elsewhere has fetched it and not yet asked for it
DIGEST_LENGTH = 64  # hexadecimal digits; anything else in the folder is not ours to remove


def prune(settings: Settings, say: Say = print) -> tuple[str, ...]:
    """Remove the releases that nobody goes back to any more; the digests of those removed.

    Kept are, of each model and environment, what is live, as many versions before it as the environment says
    and those that can be gone forward to; whatever a service is to have loaded; what was just fetched.
    What cannot be removed is said and stays: a deployment does not fail by it.
    """
    removed: list[str] = []
    try:
        with exclusive(settings.releases / ".lock", "fetching of a release"):
            needed = kept(settings)
            for path in sorted(settings.releases.iterdir()):
                if path.name in needed or len(path.name) != DIGEST_LENGTH:
                    continue
                if time.time() - path.stat().st_mtime < GRACE_S:
                    continue
                with scratch(settings.releases) as aside:  # a release is there whole, or not at all
                    path.rename(aside / path.name)
                removed.append(path.name)
            for path in settings.releases.glob(".part-*"):  # of whoever held the lock and was killed
                shutil.rmtree(path, ignore_errors=True)
    except (FlightlineError, OSError) as error:
        say(f"older releases stay: {error}")
    if removed:
        say(f"removed {len(removed)} release(s) that no rollback goes back to")
    return tuple(removed)


def kept(settings: Settings) -> frozenset[str]:
    """The digests of the releases that must stay.

    Raises:
        FlightlineError: the ledger or a desired state cannot be read; nothing is known then.
    """
    return frozenset(_needed(read(settings.ledger), settings))


def _needed(entries: list[Entry], settings: Settings) -> Iterator[str]:
    for name, environment in settings.environments.items():
        for model in models(entries, name):
            past, position = trail(entries, name, model)
            first = max(position - environment.keep, 0)
            yield from (placed.digest for placed in past[first:])
        desired = backend(name, settings).desired()
        for wanted in desired.models.values() if desired else ():
            yield from (version.digest for version in wanted.versions.values())
