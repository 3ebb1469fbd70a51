"""score: the answers of a released model to tables in Parquet, once per file, in bounded memory.

Each file of --input becomes one of the same name in --output: row, entity_id (of --id), label, score.CLASS.
A file that was scored before is not scored again, and a run that was cut off goes on where it was. The model
is what the ledger says is live in --environment, unless --version or --release names another. A folder holds
the answers of one bundle; with --by-version each has its own.

Rows are held to the contract as the service holds them. One that it refuses refuses its file, or, with
--rejects, is set aside with the reason. The online store is not asked: a table needs a column for each stored
feature of the contract, null where one is missing, and is refused without.

--publish makes the answers findable: GET /scores/MODEL/ID.

Exit code: 0; 1 where a file was refused.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from contract.errors import FlightlineError
from pipelines.cli import OK, command, json_option, parser, quiet
from pipelines.delivery.champion import PRODUCTION
from pipelines.machine.processes import Say
from pipelines.machine.settings import Settings
from pipelines.scoring.batches import Order, Scored, score_all
from pipelines.scoring.choosing import choose
from pipelines.scoring.inputs import find_inputs
from pipelines.scoring.publishing import Published, publish
from serving.models.predictor import Predictor
from training import model as models
from training.model import ID


def main(argv: list[str] | None = None) -> int:
    """Score, and publish where it is asked for."""
    options = _options(argv)
    models.load(options.model)
    settings = Settings.from_environment()
    say = quiet if options.json else print
    if options.publish:
        settings.environment(options.publish)
    predictor = choose(
        options.model,
        settings,
        environment=options.environment,
        version=options.version,
        release=options.release,
    )
    say(f"{options.model} version {predictor.version} ({predictor.bundle.digest[:12]})")
    # Whoever calls it again and again, always with the version of the moment, needs a folder for each.
    below = predictor.bundle.digest[:12] if options.by_version else ""
    output = options.output / below
    rejects = None if options.rejects is None else options.rejects / below
    found = _scored(options, output, rejects, predictor, say)
    refused = [item for item in found if item.problem]
    published: Published | None = None
    if options.publish and not refused:
        folder = settings.scores(options.publish)
        published = publish(output, predictor.contract, folder, options.fresh_hours)
        say(f"{published.entities:,} entities can be looked up in {options.publish}")
    if options.json:
        told = {"files": [asdict(item) for item in found], "published": published and asdict(published)}
        print(json.dumps({"version": predictor.version, "digest": predictor.bundle.digest, **told}))
    if refused:
        raise FlightlineError(
            f"{len(refused)} of {len(found)} files {'was' if len(refused) == 1 else 'were'} refused: "
            f"{refused[0].problem.rstrip('.')}",
            "tables that fulfil the contract",
            "Correct them and run the same command again; what is done stays done",
        )
    return OK


def _scored(
    options: argparse.Namespace, output: Path, rejects: Path | None, predictor: Predictor, say: Say
) -> list[Scored]:
    order = Order(output, rejects, options.id, options.threads)
    found: list[Scored] = []
    for item in score_all(find_inputs(options.input), order, predictor, say):
        found.append(item)
        if item.problem:
            say(f"{item.input}: refused. {item.problem}")
        else:
            aside = f", {item.rejected:,} set aside ({item.first})" if item.rejected else ""
            say(f"{item.input}: {item.scored:,} rows{aside}{', as before' if item.reused else ''}")
    return found


def _options(argv: list[str] | None) -> argparse.Namespace:
    options = parser("score", __doc__, "score flights --input flights/ --output scored/ --id id")
    options.add_argument("model", help=f"one of {', '.join(models.names())}")
    options.add_argument(
        "--input", required=True, help="a Parquet file, a folder of them, or a glob in quotes"
    )
    options.add_argument("--output", required=True, type=Path, help="the folder of the answers")
    options.add_argument("--id", default="", metavar="COLUMN", help=f"what a row is about, such as '{ID}'")
    options.add_argument("--rejects", type=Path, help="the folder of rows that the contract refuses")
    options.add_argument(
        "--by-version", action="store_true", help="in each folder one for each bundle, named by its digest"
    )
    options.add_argument("--environment", default=PRODUCTION, help=f"whose version scores ({PRODUCTION})")
    which = options.add_mutually_exclusive_group()
    which.add_argument("--version", default="", help="a registered version instead")
    which.add_argument("--release", type=Path, help="a release directory instead")
    options.add_argument("--threads", type=_count, default=0, help="cores to use (all)")
    options.add_argument(
        "--publish", default="", metavar="ENVIRONMENT", help="whose service may look them up"
    )
    options.add_argument("--fresh-hours", type=_hours, help="published: older answers are called stale")
    json_option(options)
    return options.parse_args(argv)


def _count(text: str) -> int:
    most = 1024
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of cores from 1 to {most}")
    return int(text)


def _hours(text: str) -> float:
    try:
        hours = float(text)
    except ValueError:
        hours = -1.0
    if not 0 < hours < 1e6:  # noqa: PLR2004 - a bound that NaN fails, too
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of hours above 0")
    return hours


if __name__ == "__main__":
    command(main)
