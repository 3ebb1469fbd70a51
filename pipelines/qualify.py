"""qualify: is this bundle to be released? Depends on the champion, so it is never cached.

Exit code: accepted 0, champion kept 10, failed 1.
"""

import argparse
import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from contract.bundle import Bundle
from contract.statements import Qualification
from contract.strict import encode_json
from pipelines.building.artifacts import Artifacts, read_json, read_table
from pipelines.building.config import policy
from pipelines.building.facts import Facts
from pipelines.cli import FAILED, KEPT, OK, command, quiet
from pipelines.delivery.champion import champion as champion_of
from pipelines.delivery.evidence import read_evidence
from pipelines.machine.files import replace
from pipelines.machine.processes import Say
from pipelines.machine.settings import Settings
from pipelines.track import require_bundle
from training import model as models
from training.evaluation import blocks, losses
from training.export import run
from training.gates.champion import not_worse
from training.gates.policy import CODES, GatePolicy
from training.gates.verdict import Verdict, audited, judge, not_applicable, settle
from training.learning import target
from training.model import AT

AGAINST_CHAMPION = "G05"  # depends on what is live, so it is judged here and by no cached stage
OF_THE_RUN = tuple(code for code in CODES if code != AGAINST_CHAMPION)
EXITS = {"accepted": OK, "kept": KEPT, "failed": FAILED}


@dataclass(frozen=True)
class Qualified:
    """The outcome for one bundle: accepted, kept (the champion stays) or failed, and why."""

    model: str
    digest: str
    outcome: str
    champion: str  # digest, or empty
    reasons: tuple[str, ...]
    against_champion: str  # what G05 found


def qualify(model: str, settings: Settings, artifacts: Path, say: Say = print) -> Qualified:
    """Judge the bundle in `artifacts/MODEL` against its evidence and the champion; keep the outcome in `var`.

    Raises:
        FlightlineError: an artifact is missing, or the champion's release does not verify.
    """
    bundle = require_bundle(model, artifacts)
    folder = Artifacts.of(model, artifacts)
    limits = policy(model, "gates", GatePolicy)
    current = champion_of(model, settings)
    rows, facts = read_table(folder.split / "test.parquet"), read_json(folder.facts, Facts)
    compared = compare(bundle, current, rows, limits, by_day=facts.kind == "time")
    (verdict,) = settle([compared], limits.may_not_apply).verdicts
    failed = audited(read_evidence(bundle.path), OF_THE_RUN, limits.may_not_apply).failed()
    kept = verdict.verdict == "fail"
    # Without a champion there is none to keep: then the policy forbids a release without a comparison.
    outcome = "failed" if failed or (kept and current is None) else "kept" if kept else "accepted"
    found = (*failed, *([verdict] if kept else []))
    qualification = Qualification(
        model=model,
        digest=bundle.digest,
        outcome=outcome,
        champion=current.digest if current else "",
        held_out=bundle.environment.held_out,
        reasons=tuple(f"{item.code} {item.title}: {item.reason}" for item in found),
    )
    replace(settings.qualification(bundle.digest), encode_json(qualification))
    word = "champion kept" if outcome == "kept" else outcome
    why = "; ".join(qualification.reasons) or f"every gate passed; {verdict.code} {verdict.reason}"
    say(f"{model}: {word} — {why}")
    return Qualified(
        model,
        bundle.digest,
        outcome,
        qualification.champion,
        qualification.reasons,
        f"{verdict.verdict}: {verdict.value or verdict.reason}",
    )


def compare(
    challenger: Bundle, champion: Bundle | None, test: pl.DataFrame, limits: GatePolicy, *, by_day: bool
) -> Verdict:
    """G05: both graphs on the challenger's held-out rows, of which the champion must have seen none.

    The blocks of the comparison are UTC days where rows have a time of their own (`by_day`); else every row
    is one.
    """
    if champion is None:
        return not_applicable("G05", "no champion serves in production")
    rule = "both are judged on rows that neither saw"
    same_rows = champion.environment.held_out == challenger.environment.held_out
    first = test[AT].sort()[0]
    if not same_rows and first < datetime.fromisoformat(champion.environment.fit_until):
        problem = (
            f"the champion was fitted on rows until {champion.environment.fit_until}, the test starts {first}"
        )
        return judge("G05", "", rule, [problem], "")
    absent = [item.name for item in champion.contract.features if item.name not in test.columns]
    if absent:
        return judge("G05", "", rule, [f"the champion needs {', '.join(absent)}, which is built no more"], "")
    for what in ("classes", "scores"):
        ours, theirs = (getattr(item.contract, what) for item in (challenger, champion))
        if ours != theirs:  # their losses would not be of one unit
            return judge(
                "G05", "", rule, [f"the champion's {what} are {theirs}, the challenger's {ours}"], ""
            )
    label = target(test)
    loss = {
        name: losses(label, run(item.read("model.onnx"), item.contract, test)[1], item.contract)
        for name, item in (("challenger", challenger), ("champion", champion))
    }
    return not_worse(loss["challenger"], loss["champion"], blocks(test, by_day=by_day), limits.G05)


def main(argv: list[str] | None = None) -> int:
    """Qualify one model's bundle."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.qualify",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m pipelines.qualify flights --json",
    )
    parser.add_argument("model", help=f"one of {', '.join(models.names())}")
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts"), help="holds MODEL/bundle")
    parser.add_argument("--json", action="store_true", help="for a program to read")
    options = parser.parse_args(argv)
    models.load(options.model)
    found = qualify(
        options.model,
        Settings.from_environment(),
        options.artifacts,
        quiet if options.json else print,
    )
    if options.json:
        print(json.dumps(asdict(found)))
    return EXITS[found.outcome]


if __name__ == "__main__":
    command(main)
