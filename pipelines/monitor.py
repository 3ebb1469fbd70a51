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
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from contract.bundle import Bundle
from contract.predictions import SHADOW, completed, log_schema
from contract.segments import live_segments
from contract.strict import decode_json
from monitoring.decision import Evidence, decide
from monitoring.drift import drift_report
from monitoring.health import data_health
from monitoring.performance import performance
from monitoring.policy import MonitoringPolicy
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
from pipelines.staging.checks import ENTITY as SMOKE_ENTITY
from training import model as models

WINDOW_DAYS = 30
QUARANTINE = 11  # exit code: whoever runs this every day must notice
NO_LABELS = {"entity_id": pl.String(), "label": pl.String(), "arrived_at": pl.Datetime("us", "UTC")}


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
        return _keep(Monitored(model, as_of.isoformat(), "insufficient", reason), "", settings, say)
    window = read_log(model, bundle, settings, environment, as_of)
    labels = read_labels(model, settings)
    reference = pl.read_parquet(bundle.path / "reference.parquet")
    health = data_health(reference, window, bundle.contract, limits.health)
    drift = drift_report(reference, window, bundle.contract, limits.drift)
    judged = performance(
        window, labels, bundle.contract, limits.performance, as_of, baseline_log_loss=_baseline(bundle)
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
        predictions=window.height,
        drift=f"{drift.status}: {drift.reason}",
        performance=f"{judged.status}: {judged.reason}",
        drifted=tuple(item.column for item in drift.columns if item.drifted),
        digest=bundle.digest,
    )
    return _keep(found, drift.html, settings, say)


def read_log(
    model: str, bundle: Bundle, settings: Settings, environment: str, as_of: datetime
) -> pl.DataFrame:
    """The predictions of the window that this bundle made; another version behaves in its own way.

    What was asked twice about an entity and one moment, as by a period that is replayed again, is there
    once, as last answered.
    """
    schema = log_schema(bundle.contract)
    paths = live_segments(settings.predictions(environment) / model)
    if not paths:
        return pl.DataFrame(schema=schema)
    inside = pl.col("event_time").is_between(as_of - timedelta(days=WINDOW_DAYS), as_of, closed="left")
    answers = pl.col("role").ne_missing(SHADOW)  # what a shadow would have said is nobody's prediction
    # What the smoke suite asks is not traffic.
    asked = pl.col("entity_id").is_null() | (pl.col("entity_id") != SMOKE_ENTITY)
    parts = [
        completed(pl.scan_parquet(path, glob=False))
        .filter(inside & asked & answers & (pl.col("digest") == bundle.digest))
        .collect()
        for path in paths
    ]
    made = pl.concat([pl.DataFrame(schema=schema), *[part for part in parts if part.height]])
    once = pl.struct("entity_id", "event_time").is_last_distinct()
    return made.sort("received_at", "request_id").filter(pl.col("entity_id").is_null() | once)


def read_labels(model: str, settings: Settings) -> pl.DataFrame:
    """Every label that was delivered, whenever it arrived; what two replays delivered alike is there once."""
    paths = sorted(settings.labels(model).glob("*.parquet"))
    return pl.concat([pl.DataFrame(schema=NO_LABELS), *map(pl.read_parquet, paths)]).unique()


def count_new(labels: pl.DataFrame, trained: datetime, as_of: datetime) -> int:
    """Entities with a label that arrived after `trained` and by `as_of`; one delivered twice counts once."""
    new = pl.col("arrived_at").is_between(trained, as_of, closed="right")
    return labels.filter(new, pl.col("label").is_not_null())["entity_id"].n_unique()


def alarms_before(model: str, digest: str, settings: Settings, as_of: datetime) -> int:
    """How many checks of the bundle `digest` on days before `as_of` alarmed in a row, the latest first."""
    folders = (settings.var / "monitoring" / model).glob("????-??-??")
    count = 0
    for folder in sorted(folders, reverse=True):
        path = folder / "check.json"
        if folder.name >= f"{as_of:%Y-%m-%d}" or not path.is_file():
            continue
        found = decode_json(path.read_bytes(), dict[str, Any], str(path))
        if found.get("digest") != digest or not str(found.get("drift")).startswith("alarm"):
            break
        count += 1
    return count


def _baseline(bundle: Bundle) -> float | None:
    """The log loss (nats) that the model reached on its held-out rows; None where none was measured."""
    found = read_evidence(bundle.path).metrics.get("log_loss", math.nan)
    return found if math.isfinite(found) else None


def _keep(found: Monitored, html: str, settings: Settings, say: Say) -> Monitored:
    """Write the report, the check and the decision; say them; return the check with the report's path."""
    day = found.as_of[:10]
    folder = settings.var / "monitoring" / found.model / day
    if html:
        replace(folder / "drift.html", html.encode(), mode=0o644)  # others may look at it, as at a log
        found = dataclasses.replace(found, report=str(folder / "drift.html"))
    replace(folder / "check.json", json.dumps(asdict(found), indent=2).encode() + b"\n")
    record(settings.var, Outcome(found.model, found.action, found.reason, day))
    say(f"{found.model}, {found.predictions:,} predictions in the {WINDOW_DAYS} days before {day}")
    for name in ("drift", "performance", "report"):
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
