"""MLflow, staging, production, relay and reconciler on this machine: `python -m pipelines.local up|down`."""

import argparse
import json
import sys
from dataclasses import asdict, dataclass

from pipelines.cli import OK, command, quiet
from pipelines.delivery.registry import CHAMPION, STAGING
from pipelines.delivery.services import prepare, program, stop_service, what_is_lacking
from pipelines.delivery.tracking_server import NAME as MLFLOW
from pipelines.delivery.tracking_server import program as mlflow_program
from pipelines.delivery.tracking_server import require_up
from pipelines.delivery.tracking_server import stop as stop_mlflow
from pipelines.machine.processes import Program, Say, start_all, stop
from pipelines.machine.settings import RECONCILER_PORT_VARIABLE, RELAY_PORT_VARIABLE, Settings

SERVICES = (STAGING, "production")
RELAY, RECONCILER = "relay", "reconciler"
EVERY_S = 5.0  # how late a click may be carried out when its webhook is lost


@dataclass(frozen=True)
class Link:
    """Where to look."""

    title: str
    url: str


def up(settings: Settings, say: Say = print, *, promotions: bool = False) -> tuple[Link, ...]:
    """Start what does not run yet, side by side, and return where to look.

    With `promotions`, also what carries out a click in MLflow. A server that is not ours has others who do.

    Raises:
        FlightlineError: a port is taken or something did not start; what was started here is stopped again.
    """
    settings.var.mkdir(parents=True, exist_ok=True)
    ours = _ours(settings)
    for environment in ours:
        prepare(environment, settings)
    programs = [program(environment, settings) for environment in ours]
    if settings.owns_tracking:
        programs.append(mlflow_program(settings))
        if promotions:
            programs += [relay(settings), reconciler(settings)]
    else:
        require_up(settings)
    start_all(programs, settings.processes, settings.logs, say)
    for environment in ours:
        lack = what_is_lacking(environment, settings)
        if lack:
            say(f"{environment}: {lack}")
    return links(settings)


def down(settings: Settings, say: Say = print) -> tuple[str, ...]:
    """Stop what runs and return the names of what was stopped."""
    # First what would start or change the others.
    stopped = [name for name in (RELAY, RECONCILER) if stop(settings.processes, name)]
    stopped += [name for name in _ours(settings) if stop_service(name, settings)]
    if stop_mlflow(settings):
        stopped.append(MLFLOW)
    say(f"stopped {', '.join(stopped)}" if stopped else "nothing was running")
    return tuple(stopped)


def _ours(settings: Settings) -> list[str]:
    """The environments that are processes here; a cluster's are neither started nor stopped."""
    return [name for name in SERVICES if settings.environment(name).backend == "local"]


def relay(settings: Settings) -> Program:
    """What carries out a click within seconds."""
    return Program(
        name=RELAY,
        command=(sys.executable, "-m", "pipelines.relay"),
        cwd=settings.checkout,
        env=settings.variables(),
        port=settings.relay_port,
        port_variable=RELAY_PORT_VARIABLE,
        ready_path="/readyz",  # once MLflow knows it
    )


def reconciler(settings: Settings) -> Program:
    """What carries out a click that the relay has not heard of, and repairs."""
    return Program(
        name=RECONCILER,
        command=(sys.executable, "-m", "pipelines.reconcile", "--every", f"{EVERY_S:g}", "--listen"),
        cwd=settings.checkout,
        env=settings.variables(),
        port=settings.reconciler_port,
        port_variable=RECONCILER_PORT_VARIABLE,
        ready_path="/livez",
    )


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
    parser.add_argument(
        "--servers-only", action="store_true", help="without what carries out a click in MLflow"
    )
    parser.add_argument("--json", action="store_true", help="for a program to read")
    options = parser.parse_args(argv)
    settings = Settings.from_environment()
    say = quiet if options.json else print
    if options.action == "down":
        stopped = down(settings, say)
        if options.json:
            print(json.dumps({"stopped": stopped}))
        return OK
    clicks = settings.owns_tracking and not options.servers_only
    found = up(settings, say, promotions=clicks)
    if options.json:
        print(json.dumps([asdict(link) for link in found]))
    else:
        for link in found:
            print(f"{link.title:<34} {link.url}")
        then = "" if clicks else " and run `python -m pipelines.reconcile`"
        print(f"To deploy a version, put the alias '{CHAMPION}' on it in MLflow{then}.")
    return OK


if __name__ == "__main__":
    command(main)
