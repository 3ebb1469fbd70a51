"""The whole loop on this machine, from raw data to a retrained model in production: `make demo`.

It works in `var/demo`, so nothing of yours is touched, and leaves nothing running. Exit code 0 only if every
step did what it should.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import httpx
from rich.console import Console
from rich.table import Table

from contract.errors import FlightlineError
from contract.locks import exclusive
from pipelines import local
from pipelines.cli import FAILED, OK, command
from pipelines.delivery.tracking_server import version_link
from pipelines.demonstration.checks import fresh_world
from pipelines.demonstration.declared import read_declared
from pipelines.demonstration.services import CLOCKS, Services
from pipelines.demonstration.story import MODEL, MONTHS, Demo
from pipelines.machine.settings import Settings


@dataclass(frozen=True)
class Row:
    """A line of the last table."""

    step: str
    result: str
    seconds: float
    passed: bool


@dataclass(frozen=True)
class Step:
    """One thing that is shown; a month is lived through only until a challenger has earned its place."""

    name: str
    work: Callable[[], str]
    until_earned: bool = False


def steps(demo: Demo, *, short: bool = False) -> tuple[Step, ...]:
    """Every step in order; the `short` demonstration tries no declared candidate."""
    return (
        Step("build both models (dvc repro)", demo.build),
        Step("start MLflow, staging, production", demo.start),
        Step("register what qualifies", demo.register),
        Step("deploy to staging", demo.stage),
        Step("promote to production", demo.release),
        *(
            Step(f"{month:%B}: traffic, drift check, retraining", partial(demo.month, number), True)
            for number, month in enumerate(MONTHS[:-1])
        ),
        Step("promote the challenger", demo.promote_challenger),
        *(() if short else (Step("try a declared candidate", demo.promote_candidate),)),
        Step("break a model on purpose", demo.fail_a_gate),
        Step("tamper with a bundle", demo.tamper),
        Step("roll back and forward", demo.roll),
    )


def run(demo: Demo, rows: list[Row], *, short: bool = False) -> bool:
    """The steps until one fails; `rows` collects what happened. True when all did what they should."""
    for step in steps(demo, short=short):
        if step.until_earned and demo.earned:
            continue
        print(f"\n── {step.name}", flush=True)
        began = time.monotonic()
        try:
            result, passed = step.work(), True
        except (FlightlineError, httpx.HTTPError) as error:
            result, passed = str(error), False
        rows.append(Row(step.name, result, time.monotonic() - began, passed))
        print(f"   {'ok' if passed else 'FAILED'}: {result}", flush=True)
        if not passed:
            return False
    return True


def main(argv: list[str] | None = None) -> int:
    """Run the demonstration."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.demo",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: make demo, or python -m pipelines.demo --keep",
    )
    parser.add_argument("--keep", action="store_true", help="leave MLflow, staging and production running")
    parser.add_argument("--short", action="store_true", help="leave out the declared candidate")
    options = parser.parse_args(argv)
    settings = demo_settings()
    with exclusive(settings.var.parent / "demo.lock", "demonstration", wait_s=0):
        passed = tell(settings, keep=options.keep, short=options.short)
    if options.keep and passed:
        print("everything is still running; to stop it: FLIGHTLINE_VAR=var/demo make down")
    return OK if passed else FAILED


def tell(settings: Settings, *, keep: bool, short: bool) -> bool:
    """Run the demonstration in an emptied world and show the table; stop everything unless told to `keep`."""
    declared = read_declared(MODEL)  # before anything is emptied or started
    fresh_world(settings)
    rows: list[Row] = []
    began = time.monotonic()
    passed = False
    services = Services(settings)
    try:
        demo = Demo(settings, services, declared)
        services.start()
        passed = run(demo, rows, short=short)
        show(rows, time.monotonic() - began, demo)
    finally:
        if not (keep and passed):
            services.stop()
    return passed


def demo_settings() -> Settings:
    """Settings of a world of its own: `var/demo`, the requests' clock, a local MLflow."""
    variables = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    place = Settings.from_environment(variables).var
    variables |= {"FLIGHTLINE_VAR": str(place / "demo"), **CLOCKS}
    return Settings.from_environment(variables)


def show(rows: list[Row], seconds: float, demo: Demo) -> None:
    """The table of steps, and where to look."""
    table = Table("step", "result", "seconds", title="what happened", title_justify="left")
    for row in rows:
        table.add_row(row.step, row.result if row.passed else f"FAILED: {row.result}", f"{row.seconds:.1f}")
    table.add_section()
    verdict = "every step did what it should" if all(row.passed for row in rows) else "not every step did"
    table.add_row("together", verdict, f"{seconds:.1f}")
    width = None if sys.stdout.isatty() else 140
    Console(width=width).print("", table)
    print("Look around: FLIGHTLINE_VAR=var/demo make up starts the servers with what the demonstration left.")
    if demo.live:
        print(f"  the version in production  {version_link(demo.settings, MODEL, demo.live)}")
    for link in local.links(demo.settings):
        print(f"  {link.title:<34} {link.url}")
    for report in filter(None, demo.reports):
        print(f"  drift report               {report}")
    print("  every change of what ran   FLIGHTLINE_VAR=var/demo .venv/bin/python -m pipelines.ledger")


if __name__ == "__main__":
    command(main)
