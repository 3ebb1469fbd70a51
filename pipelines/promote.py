"""Make a staged version the champion and deploy it: `python -m pipelines.promote MODEL --actor WHO`."""

import json
from datetime import datetime

from pipelines.cli import OK, again_option, check_again, command, decision_options, json_option, parser
from pipelines.delivery.aliases import settle
from pipelines.delivery.placement import Deployed, changing
from pipelines.delivery.refusals import refusals_as_json
from pipelines.delivery.registry import STAGING, connect
from pipelines.deploy import deploy_locked
from pipelines.machine.environments import PRODUCTION
from pipelines.machine.processes import Say
from pipelines.machine.progress import showing
from pipelines.machine.settings import Settings


def promote(
    model: str,
    settings: Settings,
    version: str | None = None,
    *,
    actor: str = "",
    why: str = "",
    at: datetime | None = None,
    again: bool = False,
    say: Say = print,
) -> Deployed:
    """Deploy `version` (default: the one with alias `staging`) to production and make it the champion.

    The alias moves last, once the version is live. What production has refused is tried only `again`.

    Raises:
        FlightlineError: the version does not qualify or fails in production. The reason is on the version,
            and the alias and production are what they were.
    """
    registry = connect(settings)
    who = actor or settings.actor
    with changing(PRODUCTION, settings):
        settle(PRODUCTION, settings, registry, say)
        number = version or registry.by_alias(model, settings.environment(STAGING).alias).version
        reason = why or f"promoted by {who}"
        return deploy_locked(
            registry, model, settings, number, who=who, why=reason, at=at, again=again, say=say
        )


def main(argv: list[str] | None = None) -> int:
    """Promote one model."""
    given = parser("promote", __doc__, "promote flights --actor ada")
    given.add_argument("model")
    given.add_argument("--version", help="a registered version (default: the one with alias `staging`)")
    decision_options(given)
    again_option(given)
    json_option(given)
    options = given.parse_args(argv)
    check_again(options)
    settings = Settings.from_environment()
    title = f"production {options.model}"
    with showing(title, as_json=options.json) as say, refusals_as_json(printed=options.json):
        deployed = promote(
            options.model,
            settings,
            options.version,
            actor=options.actor,
            why=options.why,
            again=options.again,
            say=say,
        )
    if options.json:
        print(json.dumps(deployed.plain()))
    return OK


if __name__ == "__main__":
    command(main)
