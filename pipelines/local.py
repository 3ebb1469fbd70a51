"""MLflow, staging and production on this machine: `python -m pipelines.local up|down`."""

import argparse
import json
from dataclasses import asdict, dataclass

from pipelines.cli import OK, command, quiet
from pipelines.delivery.registry import CHAMPION, STAGING
from pipelines.delivery.services import prepare, program, stop_service, what_is_lacking
from pipelines.delivery.tracking_server import NAME as MLFLOW
from pipelines.delivery.tracking_server import program as mlflow_program
from pipelines.delivery.tracking_server import require_up
from pipelines.delivery.tracking_server import stop as stop_mlflow
from pipelines.machine.processes import Say, start_all
from pipelines.machine.settings import Settings

SERVICES = (STAGING, "production")


@dataclass(frozen=True)
class Link:
    """Where to look."""

    title: str
    url: str


def up(settings: Settings, say: Say = print) -> tuple[Link, ...]:
    """Start what does not run yet, side by side, and return where to look.

    Raises:
        FlightlineError: a port is taken or something did not start; what was started here is stopped again.
    """
    settings.var.mkdir(parents=True, exist_ok=True)
    for environment in SERVICES:
        prepare(environment, settings)
    programs = [program(environment, settings) for environment in SERVICES]
    if settings.owns_tracking:
        programs.append(mlflow_program(settings))
    else:
        require_up(settings)
    start_all(programs, settings.processes, settings.logs, say)
    for environment in SERVICES:
        lack = what_is_lacking(environment, settings)
        if lack:
            say(f"{environment}: {lack}")
    return links(settings)


def down(settings: Settings, say: Say = print) -> tuple[str, ...]:
    """Stop what runs and return the names of what was stopped."""
    stopped = [name for name in SERVICES if stop_service(name, settings)]
    if stop_mlflow(settings):
        stopped.append(MLFLOW)
    say(f"stopped {', '.join(stopped)}" if stopped else "nothing was running")
    return tuple(stopped)


def links(settings: Settings) -> tuple[Link, ...]:
    """The pages worth opening; they need no model to exist."""
    return (
        Link("MLflow: models and their aliases", f"{settings.tracking_uri}/#/models"),
        Link("MLflow: experiments", f"{settings.tracking_uri}/#/experiments?workflowType=machine_learning"),
        *(Link(f"{name}: try the API", f"{settings.service_url(name)}/docs") for name in SERVICES),
    )


def main(argv: list[str] | None = None) -> int:
    """Start or stop the local environments."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m pipelines.local up",
    )
    parser.add_argument("action", choices=["up", "down"])
    parser.add_argument("--json", action="store_true", help="for a program to read")
    options = parser.parse_args(argv)
    settings = Settings.from_environment()
    say = quiet if options.json else print
    if options.action == "down":
        stopped = down(settings, say)
        if options.json:
            print(json.dumps({"stopped": stopped}))
        return OK
    found = up(settings, say)
    if options.json:
        print(json.dumps([asdict(link) for link in found]))
    else:
        for link in found:
            print(f"{link.title:<34} {link.url}")
        print(f"To deploy a version, move its alias '{CHAMPION}' and run `python -m pipelines.reconcile`.")
    return OK


if __name__ == "__main__":
    command(main)
