"""Serve the version that production served before: `python -m pipelines.rollback MODEL`.

It needs nothing but this machine: the ledger, the kept releases and the service. MLflow may be down.
"""

import json
from contextlib import nullcontext
from datetime import datetime

from contract.errors import FlightlineError
from contract.strict import near_miss
from pipelines.cli import OK, command, decision_options, json_option, parser, quiet
from pipelines.delivery.aliases import Pending, following
from pipelines.delivery.placement import Change, Deployed, changing, place
from pipelines.delivery.releases import Release, open_release
from pipelines.delivery.trail import neighbours
from pipelines.ledger import Placed, live, models, read
from pipelines.machine.environments import PRODUCTION
from pipelines.machine.processes import Say
from pipelines.machine.settings import Settings
from training.model import names


def rollback(
    model: str,
    settings: Settings,
    *,
    forward: bool = False,
    actor: str = "",
    why: str = "",
    at: datetime | None = None,
    say: Say = print,
    locked: bool = False,
) -> Deployed:
    """Go one version back in production, or with `forward` undo the last rollback.

    `locked` says that the caller holds production's lock.

    Raises:
        FlightlineError: there is no such version, or it does not verify or pass; production is unchanged.
    """
    with nullcontext() if locked else changing(PRODUCTION, settings):
        release, change, current = _way(model, settings, forward=forward, actor=actor, why=why, at=at)
        alias = settings.environment(PRODUCTION).alias
        move = Pending(PRODUCTION, model, alias, change.version, (current.version,))
        with following(move, settings, say):
            return place(change, release, settings, say)


def _way(
    model: str, settings: Settings, *, forward: bool, actor: str, why: str, at: datetime | None
) -> tuple[Release, Change, Placed]:
    """The release to go to, the change that this is, and what is live."""
    word = "forward" if forward else "rollback"
    entries = read(settings.ledger)
    back, ahead = neighbours(entries, PRODUCTION, model)
    target = ahead if forward else back
    current = live(entries, PRODUCTION, model)
    if target is None or current is None:
        known = models(entries, PRODUCTION)
        hint = "" if model in known else near_miss(model, sorted({*known, *names()} - {model}))
        what = "was rolled back from" if forward else "ran in production before"
        raise FlightlineError(
            f"no version of {model} {what}{hint}",
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
    return release, change, current


def main(argv: list[str] | None = None) -> int:
    """Roll one model back, or forward again."""
    given = parser("rollback", __doc__, "rollback flights --actor ada")
    given.add_argument("model")
    given.add_argument("--forward", action="store_true", help="undo the last rollback")
    decision_options(given)
    json_option(given)
    options = given.parse_args(argv)
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
