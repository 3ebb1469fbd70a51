"""challenger: what a delivery starts from, registered if it earns it; that the champion stays is no failure.

With --as-of it is a retraining, otherwise the bundle in artifacts/. In a workflow the output `accepted` says
whether there is something to deliver.

Exit code: accepted or champion kept 0, failed 1.
"""

import argparse
import os
from datetime import datetime
from pathlib import Path

from pipelines.cli import FAILED, OK, command
from pipelines.ledger import parse_moment
from pipelines.machine.settings import Settings
from pipelines.machine.workflow import output, summary
from pipelines.qualify import Qualified, note, qualify
from pipelines.register import register
from pipelines.retrain import retrain
from pipelines.track import track
from training import model as models

WORDS = {
    "accepted": "accepted and registered",
    "kept": "champion kept, nothing is to be delivered",
    "failed": "failed",
}


def challenger(model: str, settings: Settings, artifacts: Path, as_of: datetime | None) -> Qualified:
    """Make, judge and, where it was accepted, register a challenger.

    Raises:
        FlightlineError: it could not be built, or MLflow does not answer.
    """
    if as_of is not None:
        return retrain(model, as_of, settings).qualified
    track(model, settings, artifacts)
    found = qualify(model, settings, artifacts)
    note(model, settings, artifacts)
    if found.outcome == "accepted":
        register(model, settings, artifacts)
    return found


def main(argv: list[str] | None = None) -> int:
    """Make one model's challenger."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.challenger",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m pipelines.challenger flights --as-of 2013-05-01",
    )
    parser.add_argument("model", help=f"one of {', '.join(models.names())}")
    parser.add_argument("--as-of", type=parse_moment, help="retrain; only labels that had arrived by then")
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts"), help="holds MODEL/bundle")
    options = parser.parse_args(argv)
    models.load(options.model)
    found = challenger(options.model, Settings.from_environment(), options.artifacts, options.as_of)
    output("accepted", "true" if found.outcome == "accepted" else "false", os.environ)
    reasons = "".join(f"\n- {reason}" for reason in found.reasons)
    summary(f"{found.model} {found.digest[:12]}: {WORDS[found.outcome]}{reasons}", os.environ)
    return FAILED if found.outcome == "failed" else OK


if __name__ == "__main__":
    command(main)
