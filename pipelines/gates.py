"""gates: what every gate says of each model's latest training run, as a table.

The gates of the run come from the bundle in artifacts/, those of the world from its qualification. Where
it has none yet, they are judged for the table alone: nothing is kept, counted or released by that.

Exit code: 1 where a gate failed under the present policy or could not be judged, else 0.
"""

import argparse
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from contract.errors import FlightlineError
from contract.statements import Qualification
from contract.strict import decode_json
from contract.verdict import Verdict
from pipelines.building.artifacts import Artifacts
from pipelines.building.config import policy
from pipelines.cli import FAILED, OK, command
from pipelines.delivery.champion import champion as champion_of
from pipelines.delivery.evidence import read_evidence
from pipelines.delivery.judging import OF_THE_RUN, OF_THE_WORLD, Case, decide, judge_world
from pipelines.machine.settings import Settings
from pipelines.track import require_bundle
from training import model as models
from training.gates.policy import GatePolicy
from training.gates.verdict import TITLES, Evidence, audited

NOT_JUDGED = "not judged"
WIDTH = 100  # of a cell on screen; --json has everything


@dataclass(frozen=True)
class Row:
    """One gate of one model."""

    code: str
    title: str
    verdict: str  # pass, fail, not applicable or not judged
    value: str
    threshold: str
    reason: str


@dataclass(frozen=True)
class Table:
    """All gates of one model's bundle."""

    model: str
    digest: str
    as_of: str
    qualified: bool  # False: the gates of the world were judged for this table, and nothing is kept of it
    outcome: str  # accepted, kept or failed; empty where a gate could not be judged
    champion: str  # digest of the one it was compared with; empty without one
    rows: tuple[Row, ...]

    def failed(self) -> bool:
        """Whether a gate failed, or nobody knows whether it would."""
        return any(row.verdict in ("fail", NOT_JUDGED) for row in self.rows)


def gates(model: str, settings: Settings, artifacts: Path) -> Table:
    """The gates of the bundle in `artifacts/MODEL`, as they count under the present policy.

    Raises:
        FlightlineError: there is no bundle, or it or its qualification is damaged.
    """
    bundle = require_bundle(model, artifacts)
    limits = policy(model, "gates", GatePolicy)
    run = audited(read_evidence(bundle.path), OF_THE_RUN, limits.may_not_apply)
    path = settings.qualification(bundle.digest)
    note = decode_json(path.read_bytes(), Qualification, path.name) if path.is_file() else None
    if note is not None:
        outcome, against = note.outcome, note.champion
        world = _rows(audited(Evidence(note.verdicts), OF_THE_WORLD, limits.may_not_apply).verdicts)
    else:
        case = Case(bundle, None, Artifacts.of(model, artifacts), limits, settings, dry=True)
        outcome, against, world = _judged_now(run, case)
    return Table(
        model=model,
        digest=bundle.digest,
        as_of=bundle.environment.as_of,
        qualified=note is not None,
        outcome=outcome,
        champion=against,
        rows=tuple(sorted([*_rows(run.verdicts), *world], key=lambda row: row.code)),
    )


def _judged_now(run: Evidence, case: Case) -> tuple[str, str, list[Row]]:
    """What qualification would find: outcome, champion and gates; each gate says why where it cannot tell."""
    try:
        current = champion_of(case.bundle.model, case.settings)
        found = judge_world(replace(case, champion=current))
    except FlightlineError as error:
        return "", "", [Row(code, TITLES[code], NOT_JUDGED, "", "", str(error)) for code in OF_THE_WORLD]
    return decide(run, found, current), current.digest if current else "", _rows(found.verdicts)


def shown(table: Table) -> str:
    """The table for a person: a line a gate, and the reason under each that did not pass."""
    against = f" against {table.champion[:12]}" if table.champion else ""
    judged = table.outcome and f"{table.outcome}{against}"
    if not table.qualified:
        judged = f"not qualified yet, would be {judged}" if judged else "not qualified yet"
    lines = [f"{table.model}  bundle {table.digest[:12]}, as of {table.as_of[:10]}, {judged}"]
    for row in table.rows:
        lines.append(f"  {row.code}  {row.verdict:<14}  {row.title:<46}  {_short(row.value)}".rstrip())
        lines += [f"       {row.reason}"] if row.verdict != "pass" else []
    count = {word: sum(row.verdict == word for row in table.rows) for word in ("pass", "fail", NOT_JUDGED)}
    return "\n".join([*lines, "  " + ", ".join(f"{number} {word}" for word, number in count.items())])


def main(argv: list[str] | None = None) -> int:
    """Print the gates of one model or of all."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.gates",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m pipelines.gates flights",
    )
    parser.add_argument("model", nargs="?", help=f"one of {', '.join(models.names())} (all)")
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts"), help="holds MODEL/bundle")
    parser.add_argument("--json", action="store_true", help="for a program to read")
    options = parser.parse_args(argv)
    settings = Settings.from_environment()
    names = [options.model] if options.model else models.names()
    tables = [gates(name, settings, options.artifacts) for name in names]
    if options.json:
        print(json.dumps(msgspec.to_builtins(tables), indent=2))
    else:
        print("\n\n".join(shown(table) for table in tables))
    return FAILED if any(table.failed() for table in tables) else OK


def _rows(verdicts: Iterable[Verdict]) -> list[Row]:
    return [Row(**msgspec.structs.asdict(verdict)) for verdict in verdicts]


def _short(text: str) -> str:
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 1]}…"


if __name__ == "__main__":
    command(main)
