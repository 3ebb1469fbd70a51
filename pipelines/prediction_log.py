"""prediction_log: keep the log of what a service answered: merge small segments, drop old ones, list them.

`compact` merges the small segments of each day; run it every hour or day. `prune` removes segments whose
newest row is older than --days. Both are safe beside a running service, readers and a kill. `files` prints
the segments that hold each row once, for `duckdb` or any other reader that runs beside a compaction.
"""

import argparse
import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from contract.errors import FlightlineError
from contract.segments import live_segments
from contract.strict import near_miss
from pipelines.cli import OK, command, json_option, parser
from pipelines.ledger import parse_moment
from pipelines.logkeeping.compacting import Kept, compact, prune
from pipelines.logkeeping.generations import GRACE_S
from pipelines.machine.settings import Settings

DAYS = 90.0  # how long rows are kept, unless told otherwise


def main(argv: list[str] | None = None) -> int:
    """Keep one model's log."""
    options = _options(argv)
    folder = _log(options.model, options.environment, Settings.from_environment())
    if options.what == "files":
        paths = [str(path) for path in live_segments(folder)]
        print(json.dumps(paths) if options.json else "\n".join(paths))
        return OK
    grace_s = options.grace_minutes * 60
    if options.what == "compact":
        kept = compact(folder, grace_s=grace_s)
    else:
        kept = prune(folder, options.days, options.as_of or datetime.now(UTC), grace_s=grace_s)
    print(json.dumps(asdict(kept)) if options.json else _told(kept))
    return OK


def _told(kept: Kept) -> str:
    return (
        f"{kept.model}: {kept.segments_before:,} segments with {kept.rows_before:,} rows are now "
        f"{kept.segments_after:,} with {kept.rows_after:,}; {kept.folders_removed} folders out of use removed"
    )


def _log(model: str, environment: str, settings: Settings) -> Path:
    settings.environment(environment)
    folder = settings.predictions(environment)
    known = sorted(item.name for item in folder.iterdir() if item.name[0] != ".") if folder.is_dir() else []
    if model not in known:
        raise FlightlineError(
            f"{environment} has no prediction log of '{model}'{near_miss(model, known)}",
            f"one of {', '.join(known) or 'none'}",
            "Correct the name, or ask the service something first",
        )
    return folder / model


def _options(argv: list[str] | None) -> argparse.Namespace:
    options = parser("prediction_log", __doc__, "prediction_log compact flights --environment production")
    options.add_argument("what", choices=("compact", "prune", "files"))
    options.add_argument("model", help="whose log")
    options.add_argument("--environment", default="production", help="of which environment (production)")
    options.add_argument("--days", type=_positive, default=DAYS, help=f"prune: keep so many ({DAYS:g})")
    options.add_argument("--as-of", type=parse_moment, help="prune: count from this moment, UTC (now)")
    options.add_argument(
        "--grace-minutes",
        type=_positive,
        default=GRACE_S / 60,
        help=f"how long readers may still use what was replaced ({GRACE_S / 60:g})",
    )
    json_option(options)
    return options.parse_args(argv)


def _positive(text: str) -> float:
    number = float(text)
    if not 0 <= number < 1e6:  # noqa: PLR2004 - a bound that NaN fails, too
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 to a million")
    return number


if __name__ == "__main__":
    command(main)
