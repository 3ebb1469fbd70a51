"""Make production what the alias `champion` says: `python -m pipelines.reconcile --once`.

This is how moving the alias in MLflow deploys a version; run on a schedule it also repairs whatever drifted
apart, such as a service that is gone.
"""

import argparse
import json
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass

from contract.errors import BundleError, FlightlineError
from pipelines.cli import FAILED, OK, command, enough_room, quiet
from pipelines.delivery.aliases import settle
from pipelines.delivery.backend import backend
from pipelines.delivery.placement import VersionRefusedError
from pipelines.delivery.refusals import give_back, left, mark_refused
from pipelines.delivery.registry import REFUSED, Registry, Version, connect
from pipelines.delivery.services import recorded
from pipelines.delivery.tracking_server import NoAnswerError
from pipelines.delivery.trail import left_behind, neighbours
from pipelines.delivery.turns import changing
from pipelines.deploy import deploy_locked
from pipelines.ledger import Entry, live, read
from pipelines.machine.environments import PRODUCTION
from pipelines.machine.logs import note
from pipelines.machine.processes import Say
from pipelines.machine.settings import RECONCILER_PORT_VARIABLE, Settings
from pipelines.promotion.listening import Route, listening
from pipelines.promotion.rules import spelling
from pipelines.rollback import rollback
from training.model import names


@dataclass(frozen=True)
class Reconciled:
    """What was done about one model, or about the service as a whole (`*`)."""

    model: str
    outcome: str  # agrees, deployed, refused, failed, repaired
    detail: str


@dataclass
class Said:
    """How it goes, for whoever asks over HTTP."""

    rounds: int = 0
    trouble: str = ""  # why the last round came to nothing
    last: tuple[Reconciled, ...] = ()


@enough_room()
def reconcile(
    settings: Settings, say: Say = print, models: Sequence[str] | None = None
) -> tuple[Reconciled, ...]:
    """Compare alias, ledger, desired state and service, and repair the difference.

    Only `models` are looked at (default: those of this repository): a shared MLflow holds other people's too.

    Raises:
        FlightlineError: MLflow does not answer, the service does not start, or the disk is full.
    """
    registry = connect(settings)
    ours = set(names() if models is None else models)
    done: list[Reconciled] = []
    for model in (model for model in registry.models() if model in ours):
        done += [_model(registry, model, settings, say), *_misspelt(registry, model, settings, say)]
    return (*done, *_service(settings, say))


def main(argv: list[str] | None = None) -> int:
    """Reconcile once, or again and again."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m pipelines.reconcile --every 10",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--once", action="store_true", help="the default")
    how.add_argument("--every", type=float, metavar="SECONDS", help="until it is interrupted")
    parser.add_argument(
        "--listen",
        action="store_true",
        help="say how it went at http://127.0.0.1:FLIGHTLINE_RECONCILER_PORT/livez",
    )
    parser.add_argument("--json", action="store_true", help="for a program to read")
    options = parser.parse_args(argv)
    settings = Settings.from_environment()
    said = Said()

    def alive(*_: object) -> tuple[int, Mapping[str, object]]:
        return 200, asdict(said)

    with ExitStack() as stack:
        if options.listen:
            port = settings.reconciler_port
            routes: dict[tuple[str, str], Route] = {("GET", "/livez"): alive}
            stack.enter_context(listening(port, RECONCILER_PORT_VARIABLE, "the reconciler", routes))
        return _rounds(settings, options, said)


def _rounds(settings: Settings, options: argparse.Namespace, said: Said) -> int:
    """Reconcile as often as the options say; `said` is kept up to date for whoever asks meanwhile."""
    while True:
        done: tuple[Reconciled, ...] = ()
        try:
            done = reconcile(settings, quiet if options.json else note)
            said.trouble = ""
        except FlightlineError as error:
            if options.every is None:
                raise
            if said.trouble != str(error):  # once, not every few seconds
                note(f"{error} Trying again every {options.every:g} s.")
            said.trouble = str(error)
        said.rounds, said.last = said.rounds + 1, done
        if options.json:
            note(json.dumps([asdict(item) for item in done]))
        else:
            for item in done:
                if options.every is None or item.outcome != "agrees":
                    note(f"{item.model}: {item.outcome}, {item.detail}")
        if options.every is None:
            return FAILED if any(item.outcome in {"refused", "failed"} for item in done) else OK
        threading.Event().wait(options.every)


def _model(registry: Registry, model: str, settings: Settings, say: Say) -> Reconciled:
    """One model, under production's lock: what is compared here must not change meanwhile."""
    try:
        with changing(PRODUCTION, settings):
            settle(PRODUCTION, settings, registry, say)
            return _compare(registry, model, settings, say)
    except (BundleError, VersionRefusedError) as refusal:
        return Reconciled(model, "refused", str(refusal))
    except NoAnswerError:
        raise
    except FlightlineError as error:  # a lock, a port: the click stays, and the next round tries again
        return Reconciled(model, "failed", str(error))


def _compare(registry: Registry, model: str, settings: Settings, say: Say) -> Reconciled:
    alias = settings.environment(PRODUCTION).alias
    named = registry.aliases(model).get(alias)
    entries = read(settings.ledger)
    placed = live(entries, PRODUCTION, model)
    if named is None:
        if placed is None:
            return Reconciled(model, "agrees", f"no {alias}, and nothing is live")
        registry.swap_alias(model, alias, placed.version, ())  # taking an alias away stops nothing
        return Reconciled(model, "repaired", f"{alias} was missing; version {placed.version} is live")
    if placed is not None and placed.version == named:
        return Reconciled(model, "agrees", f"version {named} is {alias} and live")
    back, _ = neighbours(entries, PRODUCTION, model)
    if placed is not None and back is not None and back.version == named:
        return _go_back(registry, registry.by_number(model, named), settings, say)
    gone = left_behind(entries, PRODUCTION, model).get(named)
    if placed is not None and gone is not None:
        return _repair(registry, gone, (alias, named, placed.version), say)
    why = f"the alias '{alias}' was moved in MLflow, which does not say by whom"
    deploy_locked(registry, model, settings, why=why, say=say)
    return Reconciled(model, "deployed", f"version {named} was made {alias}")


def _go_back(registry: Registry, version: Version, settings: Settings, say: Say) -> Reconciled:
    """The alias was put on the version that ran before: a rollback by a click."""
    try:
        why = "the alias was moved back in MLflow, which does not say by whom"
        rollback(version.model, settings, why=why, say=say, locked=True)
    except (BundleError, VersionRefusedError) as refusal:
        mark_refused(registry, version, str(refusal), say)
        give_back(registry, version, settings, say)
        raise
    return Reconciled(version.model, "deployed", f"went back to version {version.version}")


def _misspelt(registry: Registry, model: str, settings: Settings, say: Say) -> list[Reconciled]:
    """Write on a version with the alias `Champion` that it means nothing; said once."""
    placed = live(read(settings.ledger), PRODUCTION, model)
    told = []
    for alias, number in registry.aliases(model).items():
        reason = spelling(alias, settings)
        if reason is None or (placed is not None and placed.version == number):
            continue
        version = registry.by_number(model, number)
        if version.tags.get(REFUSED) != str(reason):
            mark_refused(registry, version, str(reason), say)
            told.append(Reconciled(model, "refused", str(reason)))
    return told


def _repair(registry: Registry, gone: Entry, names: tuple[str, str, str], say: Say) -> Reconciled:
    """An alias that names what was rolled back from is older than the rollback; or somebody must say more."""
    alias, named, live_version = names
    model = gone.model
    kept = registry.swap_alias(model, alias, live_version, {named})
    if kept is not None:
        return Reconciled(model, "agrees", f"{alias} was just moved to version {kept}; the next round looks")
    reason = str(left(gone))
    mark_refused(registry, registry.by_number(model, named), reason, say)
    return Reconciled(model, "repaired", f"{alias} is version {live_version} again: {reason}")


def _service(settings: Settings, say: Say) -> tuple[Reconciled, ...]:
    with changing(PRODUCTION, settings):
        wanted = recorded(PRODUCTION, read(settings.ledger), settings)
        if not wanted:
            return ()
        place = backend(PRODUCTION, settings)
        if place.running() and place.ready() and place.intact(wanted):
            return ()
        place.ensure(say)
        place.converge(wanted)
    return (Reconciled("*", "repaired", "production serves again what the ledger says"),)


if __name__ == "__main__":
    command(main)
