"""Serve the version that production served before: `python -m pipelines.rollback MODEL`.

It needs nothing but this machine: the ledger, the kept releases and the service. MLflow may be down.
"""

import argparse
import json
from datetime import datetime

from contract.errors import FlightlineError
from pipelines.cli import OK, command, quiet
from pipelines.delivery.aliases import Pending, following
from pipelines.delivery.placement import Change, Deployed, changing, place
from pipelines.delivery.releases import open_release
from pipelines.ledger import live, neighbours, read
from pipelines.machine.processes import Say
from pipelines.machine.settings import Settings

PRODUCTION = "production"


def rollback(
    model: str,
    settings: Settings,
    *,
    forward: bool = False,
    actor: str = "",
    why: str = "",
    at: datetime | None = None,
    say: Say = print,
) -> Deployed:
    """Go one version back in production, or with `forward` undo the last rollback.

    Raises:
        FlightlineError: there is no such version, or it does not verify or pass; production is unchanged.
    """
    word = "forward" if forward else "rollback"
    with changing(PRODUCTION, settings):
        entries = read(settings.ledger)
        back, ahead = neighbours(entries, PRODUCTION, model)
        target = ahead if forward else back
        current = live(entries, PRODUCTION, model)
        if target is None or current is None:
            raise FlightlineError(
                f"no version of {model} {'was rolled back from' if forward else 'ran in production before'}",
                "one to go " + ("forward to" if forward else "back to"),
                "See `python -m pipelines.ledger`",
            )
        release = open_release(settings.releases / target.digest, model, target.digest, settings)
        change = Change(
            environment=PRODUCTION,
            model=model,
            version=target.version,
            who=actor or settings.actor,
            why=why or f"{word} from version {current.version} to version {target.version}",
            action="forward" if forward else "rollback",
            at=at,
        )
        alias = settings.environment(PRODUCTION).alias
        move = Pending(PRODUCTION, model, alias, target.version, (current.version,))
        with following(move, settings, say):
            return place(change, release, settings, say)


def main(argv: list[str] | None = None) -> int:
    """Roll one model back, or forward again."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m pipelines.rollback flights --actor ada",
    )
    parser.add_argument("model")
    parser.add_argument("--forward", action="store_true", help="undo the last rollback")
    parser.add_argument("--actor", default="", help="who decides (default: FLIGHTLINE_ACTOR)")
    parser.add_argument("--why", default="", help="the reason, for the ledger")
    parser.add_argument("--json", action="store_true", help="for a program to read")
    options = parser.parse_args(argv)
    deployed = rollback(
        options.model,
        Settings.from_environment(),
        forward=options.forward,
        actor=options.actor,
        why=options.why,
        say=quiet if options.json else print,
    )
    if options.json:
        print(json.dumps(deployed.plain()))
    return OK


if __name__ == "__main__":
    command(main)
