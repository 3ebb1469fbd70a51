"""Make production what the alias `champion` says: `python -m pipelines.reconcile --once`.

This is how moving the alias in MLflow deploys a version; run on a schedule it also repairs whatever drifted
apart, such as a service that is gone.
"""

import argparse
import json
import threading
from dataclasses import asdict, dataclass

from contract.errors import FlightlineError
from pipelines.cli import FAILED, OK, command
from pipelines.delivery.aliases import move, settle
from pipelines.delivery.registry import CHAMPION, Registry, connect
from pipelines.delivery.services import converge, ensure_service, intact, ready, recorded, running
from pipelines.deploy import PRODUCTION, deploy_production
from pipelines.ledger import live, read
from pipelines.machine.processes import Say
from pipelines.machine.settings import Settings


@dataclass(frozen=True)
class Reconciled:
    """What was done about one model, or about the service as a whole (`*`)."""

    model: str
    outcome: str  # agrees, deployed, refused, repaired
    detail: str


def reconcile(settings: Settings, say: Say = print) -> tuple[Reconciled, ...]:
    """Compare alias, ledger, desired state and service, and repair the difference.

    Raises:
        FlightlineError: MLflow does not answer, or the service does not start.
    """
    registry = connect(settings)
    settle(settings, registry, say)
    done = [_model(registry, model, settings, say) for model in registry.models()]
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
    parser.add_argument("--json", action="store_true", help="for a program to read")
    options = parser.parse_args(argv)
    settings = Settings.from_environment()
    quiet: Say = lambda _: None  # noqa: E731 - a name for saying nothing
    while True:
        done: tuple[Reconciled, ...] = ()
        try:
            done = reconcile(settings, quiet if options.json else print)
        except FlightlineError as error:
            if options.every is None:
                raise
            print(f"{error} Trying again in {options.every:g} s.")
        if options.json:
            print(json.dumps([asdict(item) for item in done]))
        else:
            for item in done:
                if options.every is None or item.outcome != "agrees":
                    print(f"{item.model}: {item.outcome}, {item.detail}")
        if options.every is None:
            return FAILED if any(item.outcome == "refused" for item in done) else OK
        threading.Event().wait(options.every)


def _model(registry: Registry, model: str, settings: Settings, say: Say) -> Reconciled:
    champion = registry.aliases(model).get(CHAMPION)
    placed = live(read(settings.ledger), PRODUCTION, model)
    if champion is None:
        if placed is None:
            return Reconciled(model, "agrees", "no champion, and nothing is live")
        move(settings, model, CHAMPION, placed.version, say)  # taking an alias away stops nothing
        return Reconciled(model, "repaired", f"champion was missing; version {placed.version} is live")
    if placed is not None and placed.version == champion:
        return Reconciled(model, "agrees", f"version {champion} is champion and live")
    try:
        deploy_production(
            model, settings, champion, why=f"the alias '{CHAMPION}' was moved in the registry", say=say
        )
    except FlightlineError as refusal:
        return Reconciled(model, "refused", str(refusal))
    return Reconciled(model, "deployed", f"version {champion} was made champion")


def _service(settings: Settings, say: Say) -> tuple[Reconciled, ...]:
    wanted = recorded(PRODUCTION, read(settings.ledger), settings)
    if not wanted:
        return ()
    if (
        running(PRODUCTION, settings) is not None
        and ready(PRODUCTION, settings)
        and intact(wanted, PRODUCTION, settings)
    ):
        return ()
    ensure_service(PRODUCTION, settings, say)
    converge(PRODUCTION, wanted, settings)
    return (Reconciled("*", "repaired", "production serves again what the ledger says"),)


if __name__ == "__main__":
    command(main)
