"""The whole loop on this machine, from raw data to a retrained model in production: `make demo`.

It works in `var/demo`, so nothing of yours is touched, and leaves nothing running. Exit code 0 only if every
step did what it should.
"""

import argparse
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

from contract.errors import FlightlineError
from pipelines import local
from pipelines.building.config import params
from pipelines.building.runs import repro
from pipelines.cli import FAILED, OK, command
from pipelines.delivery.tracking_server import version_link
from pipelines.demonstration.checks import Probe, live_release, tampered
from pipelines.demonstration.services import Services
from pipelines.deploy import deploy_staging
from pipelines.machine.settings import Settings
from pipelines.monitor import monitor
from pipelines.promote import promote
from pipelines.qualify import qualify
from pipelines.register import register
from pipelines.replay import replay
from pipelines.retrain import Retrained, retrain
from pipelines.rollback import rollback

MODEL, SMALL = "flights", "iris"
ACTOR = "demo"  # the demonstration decides in a person's place, and the ledger says so
ARTIFACTS = Path("artifacts")
NOTES_REQUEST = {"data": [[2.1, 4.5, 3.7, 5.2]]}
# Months to live through until a challenger has earned its promotion.
MONTHS = [datetime(2013, month, 1, tzinfo=UTC) for month in (4, 5, 6, 7)]
# A model that cannot pass: one tree is no model.
BROKEN = {"train.max_iter": 1}


@dataclass
class Demo:
    """The demonstration's state: where it happens, and what was promoted so far."""

    settings: Settings
    services: Services
    live: str = ""  # the version in production
    reports: list[str] = field(default_factory=list)
    challenger: Retrained | None = None

    def build(self) -> str:
        """`dvc repro` for both models; what is in DVC's cache is reused."""
        lines: list[str] = []

        def say(line: str) -> None:
            lines.append(line)
            print(line, flush=True)

        repro(None, Path(), say)
        reused = sum("unchanged" in line or "from the cache" in line for line in lines)
        return f"{MODEL} as of {params(MODEL).as_of:%Y-%m-%d} and {SMALL}; {reused} of 14 stages reused"

    def start(self) -> str:
        """MLflow, staging and production: started beside the build, awaited here."""
        self.services.wait()
        return "MLflow, staging and production answer on loopback"

    def register(self) -> str:
        """Track, qualify and register both models."""
        versions = []
        for model in (MODEL, SMALL):
            qualify(model, self.settings, ARTIFACTS)
            versions.append(f"{model} {register(model, self.settings, ARTIFACTS).version}")
        return f"registered {' and '.join(versions)}, with evidence, card and lineage"

    def stage(self) -> str:
        """Both challengers in staging, each through the smoke suite over HTTP."""
        for model in (MODEL, SMALL):
            deploy_staging(model, self.settings, who=ACTOR)
        return "golden answers, contract, bad inputs and latency held; the versions carry signed evidence"

    def release(self) -> str:
        """The champion alias moves; production follows and is tested again."""
        for model in (MODEL, SMALL):
            deployed = promote(model, self.settings, actor=ACTOR)
            self.live = deployed.version if model == MODEL else self.live
        url = self.settings.service_url("production")
        answer = httpx.post(f"{url}/predict/label", json=NOTES_REQUEST, timeout=10).json()
        _must(answer == {"prediction": "virginica"}, f"/predict/label answered {answer}")
        return f"{MODEL} {self.live} and {SMALL} serve; /predict/label answers {answer['prediction']}"

    def month(self, number: int) -> str:
        """One month of traffic, the check after it, and what the check decides."""
        start, end = MONTHS[number], MONTHS[number + 1]
        sent = replay(MODEL, start, end, self.settings, environment="production")
        found = monitor(MODEL, self.settings, end)
        self.reports.append(found.report)
        told = f"{sent.rows:,} predictions, drift {found.drift.partition(':')[0]}, "
        told += f"performance {found.performance.partition(':')[0]}"
        if found.action != "retrain":
            return f"{told}: {found.action}; the next month is taken"
        self.challenger = retrain(MODEL, end, self.settings)
        if self.challenger.qualified.outcome == "kept":
            return f"{told}: retrained, champion kept (G05 {self.challenger.qualified.against_champion})"
        _must(bool(self.challenger.version), f"the challenger {self.challenger.qualified.outcome}")
        return f"{told}: retrained, version {self.challenger.version} earned its place"

    def promote_challenger(self) -> str:
        """The challenger that was accepted goes the same way as the first version."""
        _must(bool(self.challenger and self.challenger.version), "no retraining of these months was accepted")
        deploy_staging(MODEL, self.settings, who=ACTOR)
        before, self.live = self.live, promote(MODEL, self.settings, actor=ACTOR).version
        return f"{MODEL} {before} → {self.live}, staging first, then production"

    def fail_a_gate(self) -> str:
        """A model that fails its gates is tracked, and goes no further."""
        probe = Probe(self.settings, MODEL)
        as_of = datetime.fromisoformat(live_release(self.settings, MODEL).environment.as_of)
        broken = retrain(MODEL, as_of, self.settings, BROKEN)
        _must(broken.qualified.outcome == "failed" and not broken.version, "a one-tree model was registered")
        probe.must_be_unchanged()
        codes = ", ".join(reason.split()[0] for reason in broken.qualified.reasons)
        return f"a one-tree model fails {codes}; nothing registered, production untouched"

    def tamper(self) -> str:
        """One flipped bit in a bundle, and the deployer refuses it."""
        probe = Probe(self.settings, MODEL)
        with tampered(self.settings, MODEL):
            try:
                deploy_staging(MODEL, self.settings, self.live, who=ACTOR)
            except FlightlineError as refusal:
                print(f"  refused: {refusal}")
                probe.must_be_unchanged()
                return "one flipped bit in model.onnx: refused, production untouched"
        raise FlightlineError("a tampered bundle was deployed", "a refusal", "Mend the deployer")

    def roll(self) -> str:
        """One version back, and forward again."""
        began = time.monotonic()
        back = rollback(MODEL, self.settings, actor=ACTOR)
        seconds = time.monotonic() - began
        forward = rollback(MODEL, self.settings, forward=True, actor=ACTOR)
        _must((back.version, forward.version) != (self.live, back.version), "the rollback changed nothing")
        return f"{self.live} → {back.version} in {seconds:.1f} s, then → {forward.version}"


@dataclass(frozen=True)
class Row:
    """A line of the last table."""

    step: str
    result: str
    seconds: float
    passed: bool


def run(demo: Demo, rows: list[Row], first: int = 0) -> bool:
    """Every step in order until one fails; `rows` collects what happened. True when all did what they should.

    `first` is the index of the first of `MONTHS` to live through.
    """

    def step(name: str, work: Callable[[], str]) -> bool:
        print(f"\n── {name}", flush=True)
        began = time.monotonic()
        try:
            result, passed = work(), True
        except (FlightlineError, httpx.HTTPError) as error:
            result, passed = str(error), False
        rows.append(Row(name, result, time.monotonic() - began, passed))
        print(f"   {'ok' if passed else 'FAILED'}: {result}", flush=True)
        return passed

    if not (
        step("build both models (dvc repro)", demo.build)
        and step("start MLflow, staging, production", demo.start)
        and step("register what qualifies", demo.register)
        and step("deploy to staging", demo.stage)
        and step("promote to production", demo.release)
    ):
        return False
    for number in range(first, len(MONTHS) - 1):
        title = f"{MONTHS[number]:%B}: traffic, drift check, retraining"
        if not step(title, lambda number=number: demo.month(number)):  # type: ignore[misc]
            return False
        if demo.challenger and demo.challenger.version:
            break
    return (
        step("promote the challenger", demo.promote_challenger)
        and step("break a model on purpose", demo.fail_a_gate)
        and step("tamper with a bundle", demo.tamper)
        and step("roll back and forward", demo.roll)
    )


def main(argv: list[str] | None = None) -> int:
    """Run the demonstration."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.demo",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: make demo, or python -m pipelines.demo --keep",
    )
    parser.add_argument("--keep", action="store_true", help="leave MLflow, staging and production running")
    parser.add_argument(
        "--short", action="store_true", help="leave out the month whose challenger is not accepted"
    )
    options = parser.parse_args(argv)
    settings = demo_settings()
    local.down(settings, lambda _: None)  # what an interrupted demonstration may have left
    shutil.rmtree(settings.var, ignore_errors=True)
    rows: list[Row] = []
    began = time.monotonic()
    passed = False
    services = Services(settings)
    try:
        demo = Demo(settings, services)
        services.start()
        passed = run(demo, rows, first=1 if options.short else 0)
        show(rows, time.monotonic() - began, demo)
    finally:
        if not (options.keep and passed):
            services.stop()
    if options.keep and passed:
        print("everything is still running; to stop it: FLIGHTLINE_VAR=var/demo make down")
    return OK if passed else FAILED


def demo_settings() -> Settings:
    """Settings of a world of its own: `var/demo`, the requests' clock, a local MLflow."""
    variables = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    place = Settings.from_environment(variables).var
    variables |= {"FLIGHTLINE_VAR": str(place / "demo"), "FLIGHTLINE_CLOCK": "request"}
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


def _must(condition: bool, otherwise: str) -> None:
    if not condition:
        raise FlightlineError(otherwise, "the demonstration's promise to hold", "See the lines above")


if __name__ == "__main__":
    command(main)
