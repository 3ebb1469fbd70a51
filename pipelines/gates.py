"""gates: what every gate says of each model's latest training run, as a table.

The gates of the run come from the bundle in artifacts/, those of the world from its qualification; where
there is none yet, the table says so and how to get one.

Exit code: 1 where a gate failed under the present policy, else 0.
"""

import argparse
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from contract.statements import Qualification
from contract.strict import decode_json
from contract.verdict import Verdict
from pipelines.building.config import policy
from pipelines.cli import FAILED, OK, command
from pipelines.delivery.evidence import read_evidence
from pipelines.delivery.judging import OF_THE_RUN, OF_THE_WORLD
from pipelines.machine.settings import Settings
from pipelines.track import require_bundle
from training import model as models
from training.gates.policy import GatePolicy
from training.gates.verdict import TITLES, Evidence, audited

NOT_JUDGED = "not judged yet"
WIDTH = 100  # of a cell on screen; --json has everything


@dataclass(frozen=True)
class Row:
    """One gate of one model."""

    code: str
    title: str
    verdict: str  # pass, fail, not applicable or not judged yet
    value: str
    threshold: str
    reason: str


@dataclass(frozen=True)
class Table:
    """All gates of one model's bundle."""

    model: str
    digest: str
    as_of: str
    outcome: str  # of its qualification; empty without one
    champion: str  # digest of the one it was compared with; empty without one
    rows: tuple[Row, ...]

    def failed(self) -> bool:
        """Whether a gate failed."""
        return any(row.verdict == "fail" for row in self.rows)


def gates(model: str, settings: Settings, artifacts: Path) -> Table:
    """The gates of the bundle in `artifacts/MODEL`, as they count under the present policy.

    Raises:
        FlightlineError: there is no bundle, or it or its qualification is damaged.
    """
    bundle = require_bundle(model, artifacts)
    allowed = policy(model, "gates", GatePolicy).may_not_apply
    rows = _rows(audited(read_evidence(bundle.path), OF_THE_RUN, allowed).verdicts)
    path = settings.qualification(bundle.digest)
    note = decode_json(path.read_bytes(), Qualification, path.name) if path.is_file() else None
    if note is None:
        remedy = f"run: python -m pipelines.qualify {model}"
        rows += [Row(code, TITLES[code], NOT_JUDGED, "", "", remedy) for code in OF_THE_WORLD]
    else:
        rows += _rows(audited(Evidence(note.verdicts), OF_THE_WORLD, allowed).verdicts)
    return Table(
        model=model,
        digest=bundle.digest,
        as_of=bundle.environment.as_of,
        outcome=note.outcome if note else "",
        champion=note.champion if note else "",
        rows=tuple(sorted(rows, key=lambda row: row.code)),
    )


def shown(table: Table) -> str:
    """The table for a person: a line a gate, and the reason under each that did not pass."""
    against = f" against {table.champion[:12]}" if table.champion else ""
    judged = f"{table.outcome}{against}" if table.outcome else "not qualified yet"
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
