"""retrain: build a challenger as of a later moment, and register it if it earns it.

Exit code: accepted and registered 0, champion kept 10, failed 1. After several rejections in a row the
circuit is open and monitoring asks for no further one, until a person closes it with --reset.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from contract.errors import FlightlineError
from monitoring.decision import Attempt, Outcome
from pipelines.building import attempts
from pipelines.building.config import params
from pipelines.building.runs import Run, build, candidate, under_way
from pipelines.cli import OK, command, quiet
from pipelines.dispatch import last
from pipelines.ledger import parse_moment
from pipelines.machine.processes import Say
from pipelines.machine.settings import Settings
from pipelines.qualify import EXITS, Qualified, note, qualify
from pipelines.register import register
from pipelines.track import track
from training import model as models


@dataclass(frozen=True)
class Retrained:
    """How a retraining ended; `version` is empty where nothing was registered."""

    model: str
    run: Run
    qualified: Qualified
    version: str


def retrain(
    model: str,
    as_of: datetime,
    settings: Settings,
    changes: Mapping[str, Any] | None = None,
    say: Say = print,
) -> Retrained:
    """Build, track, qualify and, when accepted, register. Interrupted anywhere, the next call continues.

    Raises:
        FlightlineError: the build failed, MLflow does not answer, or another retraining is under way.
    """
    with under_way(f"{model} as of {as_of:%Y-%m-%d}", settings):
        say(f"retraining {model} as of {as_of:%Y-%m-%d}, from the last commit, beside the checkout")
        key = candidate(model, as_of, settings, changes)

        def ended(outcome: Outcome, digest: str = "") -> None:
            attempts.add(model, Attempt(as_of, key, outcome), settings, digest)

        try:
            run = build(model, as_of, settings, changes, say)
        except FlightlineError:
            ended("failed")
            raise
        track(model, settings, run.artifacts, say)
        found = qualify(model, settings, run.artifacts, say)
        note(model, settings, run.artifacts, say)
        version = ""
        if found.outcome == "accepted":
            version = register(model, settings, run.artifacts, say).version
        ended(attempts.OUTCOMES[found.outcome], found.digest)
    return Retrained(model, run, found, version)


def main(argv: list[str] | None = None) -> int:
    """Retrain one model."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.retrain",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m pipelines.retrain flights --as-of 2013-05-01",
    )
    parser.add_argument("model", help=f"one of {', '.join(models.names())}")
    parser.add_argument(
        "--as-of", type=parse_moment, help="only labels that had arrived by then (params.yaml)"
    )
    parser.add_argument(
        "--if-decided", action="store_true", help="only where the last monitoring said retrain"
    )
    parser.add_argument(
        "--reset",
        action="store_true",
        help="close the circuit that rejections in a row opened; train nothing",
    )
    parser.add_argument("--json", action="store_true", help="for a program to read")
    options = parser.parse_args(argv)
    say = quiet if options.json else print
    models.load(options.model)
    settings = Settings.from_environment()
    if options.reset:
        refused = attempts.reset(options.model, settings)
        say(f"{options.model}: {refused} rejections in a row no longer count")
        return OK
    as_of = options.as_of or params(options.model).as_of
    if options.if_decided:
        outcome = last(settings.var, options.model)
        if outcome.action != "retrain":
            say(f"{options.model}: not retrained, the last decision was {outcome.action} ({outcome.reason})")
            return OK
        as_of = datetime.fromisoformat(outcome.as_of).replace(tzinfo=UTC)
    found = retrain(options.model, as_of, settings, say=say)
    if options.json:
        outcome = msgspec.to_builtins(found.qualified)
        print(json.dumps({**outcome, "version": found.version, "run": found.run.id}))
    return EXITS[found.qualified.outcome]


if __name__ == "__main__":
    command(main)
