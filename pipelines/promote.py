"""Make a staged version the champion and deploy it: `python -m pipelines.promote MODEL --actor WHO`."""

import argparse
from datetime import datetime

from contract.errors import FlightlineError
from pipelines.cli import OK, command
from pipelines.delivery.aliases import move, settle
from pipelines.delivery.placement import Deployed
from pipelines.delivery.registry import CHAMPION, REFUSED, STAGING, connect
from pipelines.deploy import deploy_production, qualified
from pipelines.machine.processes import Say
from pipelines.machine.settings import Settings


def promote(
    model: str,
    settings: Settings,
    version: str | None = None,
    *,
    actor: str = "",
    why: str = "",
    at: datetime | None = None,
    say: Say = print,
) -> Deployed:
    """Move `champion` to `version` (default: the one with alias `staging`) and deploy it to production.

    Raises:
        FlightlineError: the version does not qualify; then the alias was not moved, and the reason is on
            the version. Or it failed in production; then the alias is back where it was.
    """
    registry = connect(settings)
    settle(settings, registry, say)
    chosen = registry.by_number(model, version) if version else registry.by_alias(model, STAGING)
    try:
        qualified(registry, chosen, settings)
    except FlightlineError as refusal:
        registry.tag(chosen, REFUSED, str(refusal))
        raise
    who = actor or settings.actor
    move(settings, model, CHAMPION, chosen.version, say)
    return deploy_production(
        model, settings, chosen.version, who=who, why=why or f"promoted by {who}", at=at, say=say
    )


def main(argv: list[str] | None = None) -> int:
    """Promote one model."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m pipelines.promote flights --actor ada",
    )
    parser.add_argument("model")
    parser.add_argument("--version", help="a registered version (default: the one with alias `staging`)")
    parser.add_argument("--actor", default="", help="who decides (default: FLIGHTLINE_ACTOR)")
    parser.add_argument("--why", default="", help="the reason, for the ledger")
    options = parser.parse_args(argv)
    settings = Settings.from_environment()
    promote(options.model, settings, options.version, actor=options.actor, why=options.why)
    return OK


if __name__ == "__main__":
    command(main)
