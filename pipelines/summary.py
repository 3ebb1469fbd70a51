"""summary: say what the last monitoring decided, and say plainly where there was nothing to monitor.

A runner that is thrown away after each job has neither ledger nor predictions: its green check means nothing.
"""

import argparse
import os

from pipelines.cli import OK, command
from pipelines.dispatch import last
from pipelines.machine.settings import Settings
from pipelines.machine.workflow import summary, warning

NO_STATE = (
    "this machine keeps no state of production (there is no {ledger}), so {model} was not checked and no "
    "alarm can come from here. Run it where production's state is: set the repository variables "
    "FLIGHTLINE_RUNNER (the label of a runner on that machine) and FLIGHTLINE_VAR (the folder)"
)


def main(argv: list[str] | None = None) -> int:
    """Report on one model."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.summary",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m pipelines.summary flights",
    )
    parser.add_argument("model", help="for example flights")
    options = parser.parse_args(argv)
    settings = Settings.from_environment()
    if not settings.ledger.is_file():
        text = NO_STATE.format(ledger=settings.ledger, model=options.model)
        warning("nothing was monitored", text, os.environ)
        return OK
    outcome = last(settings.var, options.model)
    text = f"{outcome.model} as of {outcome.as_of}: {outcome.action} — {outcome.reason}"
    if outcome.action in {"quarantine", "retrain"}:
        warning("monitoring", text, os.environ)
    else:
        summary(text, os.environ)
    return OK


if __name__ == "__main__":
    command(main)
