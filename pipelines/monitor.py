"""monitor: what production was asked and answered, against training and late labels -> retrain or not.

Health first, then labels, then drift (Evidently), then volume and age. It decides; `retrain` acts.

Exit code: 0, also where nothing could be judged; 11 where the data are too bad to learn from (quarantine);
1 where the check itself failed.
"""

import argparse
import dataclasses
import json
import math
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import polars as pl

from contract.bundle import Bundle
from monitoring.decision import Evidence, decide
from monitoring.drift import drift_report
from monitoring.health import data_health
from monitoring.performance import performance
from monitoring.policy import MonitoringPolicy
from monitoring.statistics import WindowStatistics, age_days, window_statistics
from pipelines.building import attempts
from pipelines.building.config import policy
from pipelines.building.runs import candidate
from pipelines.cli import OK, command, quiet
from pipelines.delivery.champion import champion
from pipelines.delivery.evidence import read_evidence
from pipelines.dispatch import Outcome, record
from pipelines.ledger import parse_moment
from pipelines.machine.files import replace
from pipelines.machine.processes import Say
from pipelines.machine.settings import Settings
from pipelines.watching import window
from pipelines.watching.readings import WINDOW_DAYS, alarms_before, count_new, read_labels, read_log
from training import model as models

QUARANTINE = 11  # exit code: whoever runs this every day must notice


@dataclass(frozen=True)
class Monitored:
    """What one check found, and what is to be done."""

    model: str
    as_of: str
    action: str  # quarantine, insufficient, wait, keep or retrain
    reason: str
    predictions: int = 0
    drift: str = ""  # alarm, quiet or insufficient, and why
    performance: str = ""  # worse, fine or insufficient, and why
    drifted: tuple[str, ...] = ()  # columns
    report: str = ""  # path of Evidently's page
    digest: str = ""  # the bundle that was watched
    age_days: float = 0.0  # since the moment up to which it learned
    statistics: str = ""  # path of the window in numbers


def monitor(
    model: str, settings: Settings, as_of: datetime, environment: str = "production", *, say: Say = print
) -> Monitored:
    """Check the `WINDOW_DAYS` before `as_of`, write the report and the decision, and return both.

    The files are named by the UTC day of `as_of`.

    Raises:
        FlightlineError: the policy, the ledger or the serving release does not verify.
    """
    as_of = as_of.astimezone(UTC)
    settings.environment(environment)  # a misspelt one would have nothing to watch
    limits = policy(model, "monitoring", MonitoringPolicy)
    bundle = champion(model, settings, environment)
    if bundle is None:
        reason = f"nothing to watch: no {model} serves in {environment}"
        return _keep(Monitored(model, as_of.isoformat(), "insufficient", reason), "", None, settings, say)
    predictions = read_log(model, bundle, settings, environment, as_of)
    labels = read_labels(model, settings)
    reference = pl.read_parquet(bundle.path / "reference.parquet")
    health = data_health(reference, predictions, bundle.contract, limits.health)
    drift = drift_report(reference, predictions, bundle.contract, limits.drift)
    judged = performance(
        predictions, labels, bundle.contract, limits.performance, as_of, baseline_log_loss=_baseline(bundle)
    )
    trained = datetime.fromisoformat(bundle.environment.as_of)
    evidence = Evidence(
        now=as_of,
        trained=trained,
        candidate=candidate(model, as_of, settings),
        new_labels=count_new(labels, trained, as_of),
        problems=health.sentences,
        performance=judged.status,
        performance_reason=judged.reason,
        drift=drift.status,
        drift_reason=drift.reason,
        drift_windows=1 + alarms_before(model, bundle.digest, settings, as_of) if drift.alarm else 0,
    )
    decision = decide(attempts.state(model, settings), evidence, limits.retrain)
    found = Monitored(
        model=model,
        as_of=as_of.isoformat(),
        action=decision.action,
        reason=decision.reason,
        predictions=predictions.height,
        drift=f"{drift.status}: {drift.reason}",
        performance=f"{judged.status}: {judged.reason}",
        drifted=tuple(item.column for item in drift.columns if item.drifted),
        digest=bundle.digest,
        age_days=round(age_days(trained, as_of), 3),
    )
    return _keep(found, drift.html, window_statistics(predictions, bundle.contract), settings, say)


def _baseline(bundle: Bundle) -> float | None:
    """The log loss (nats) that the model reached on its held-out rows; None where none was measured."""
    found = read_evidence(bundle.path).metrics.get("log_loss", math.nan)
    return found if math.isfinite(found) else None


def _keep(
    found: Monitored, html: str, statistics: WindowStatistics | None, settings: Settings, say: Say
) -> Monitored:
    """Write report, statistics, check and decision; say them; return the check with the paths."""
    day = found.as_of[:10]
    folder = settings.var / "monitoring" / found.model / day
    if html:
        replace(folder / "drift.html", html.encode(), mode=0o644)  # others may look at it, as at a log
        found = dataclasses.replace(found, report=str(folder / "drift.html"))
    if statistics is not None:
        found = dataclasses.replace(found, statistics=str(window.keep(folder, statistics)))
    replace(folder / "check.json", json.dumps(asdict(found), indent=2).encode() + b"\n")
    record(settings.var, Outcome(found.model, found.action, found.reason, day))
    say(f"{found.model}, {found.predictions:,} predictions in the {WINDOW_DAYS} days before {day}")
    if statistics is not None:
        say(f"  {'age':<12} {found.age_days:.0f} days since the data it learned from")
        for name, text in window.lines(statistics) if statistics.rows else ():
            say(f"  {name:<12} {text}")
    for name in ("statistics", "drift", "performance", "report"):
        if getattr(found, name):
            say(f"  {name:<12} {getattr(found, name)}")
    say(f"  {'decision':<12} {found.action}: {found.reason}")
    return found


def main(argv: list[str] | None = None) -> int:
    """Check one model."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.monitor",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m pipelines.monitor flights --as-of 2013-05-01",
    )
    parser.add_argument("model", help=f"one of {', '.join(models.names())}")
    parser.add_argument("--as-of", type=parse_moment, help="end of the window, UTC (now)")
    parser.add_argument("--environment", default="production", help="whose log is read (production)")
    parser.add_argument("--json", action="store_true", help="for a program to read")
    options = parser.parse_args(argv)
    models.load(options.model)
    found = monitor(
        options.model,
        Settings.from_environment(),
        options.as_of or datetime.now(UTC),
        options.environment,
        say=quiet if options.json else print,
    )
    if options.json:
        print(json.dumps(asdict(found)))
    return QUARANTINE if found.action == "quarantine" else OK


if __name__ == "__main__":
    command(main)
