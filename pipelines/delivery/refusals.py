"""What was refused or left: said in one sentence, written on the version, and the alias given back."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

from contract.errors import FlightlineError
from pipelines.delivery.placement import VersionRefusedError
from pipelines.delivery.registry import REFUSED, Registry, Version
from pipelines.delivery.trail import refusal
from pipelines.ledger import Entry, live, read
from pipelines.machine.environments import PRODUCTION
from pipelines.machine.processes import Say
from pipelines.machine.settings import Settings


def left(entry: Entry) -> VersionRefusedError:
    """Why the version that `entry` was a way back from is not deployed by a click."""
    version = entry.before.version if entry.before else ""
    return VersionRefusedError(
        f"version {version} of {entry.model} was left for version {entry.after.version} on "
        f"{entry.at:%Y-%m-%d %H:%M}Z ({entry.who}: {entry.why})",
        "a version that nobody went back from",
        f"To have it again, run `python -m pipelines.promote {entry.model} --version {version}`, or undo the "
        f"change with `python -m pipelines.rollback {entry.model}`",
    )


def require_not_refused(version: Version, settings: Settings) -> None:
    """Nothing, unless production tried this bundle and went back, and nobody has decided otherwise since.

    Raises:
        VersionRefusedError: it did; the sentence says when, why, and how a person tries again.
    """
    tried = refusal(read(settings.ledger), PRODUCTION, version.model, version.digest)
    if tried is None:
        return
    raise VersionRefusedError(
        f"version {version.version} of {version.model} was refused {tried.at:%Y-%m-%d %H:%M}Z: {tried.why}",
        "a version that production has not gone back from",
        f"Correct the model; or run `python -m pipelines.promote {version.model} --version {version.version} "
        "--again --actor WHO --why REASON`",
    )


def mark_refused(registry: Registry, version: Version, reason: str, say: Say) -> None:
    """Write `reason` on the version, where a person sees it."""
    try:
        registry.tag(version, REFUSED, reason)
    except FlightlineError as error:
        say(f"the reason is not on the version: {error}")


def give_back(registry: Registry, version: Version, settings: Settings, say: Say) -> None:
    """Point production's alias at what is live again, if it still names the refused `version`.

    Where nothing is live there is nothing to point at, and the alias stays: it may be somebody else's.
    """
    placed = live(read(settings.ledger), PRODUCTION, version.model)
    if placed is None:
        return
    alias = settings.environment(PRODUCTION).alias
    try:
        kept = registry.swap_alias(version.model, alias, placed.version, {version.version})
    except FlightlineError as error:
        say(f"the alias '{alias}' of {version.model} is not back at version {placed.version}: {error}")
        return
    if kept is not None:
        say(f"the alias '{alias}' of {version.model} was moved to version {kept} meanwhile and stays there")


@contextmanager
def refusals_as_json(*, printed: bool) -> Iterator[None]:
    """What the steps of a refused rollout saw is `printed`, where a program reads, before it goes on."""
    try:
        yield
    except VersionRefusedError as error:
        if printed:
            print(json.dumps({"refused": str(error), "steps": [asdict(step) for step in error.steps]}))
        raise
