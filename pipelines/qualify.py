"""qualify: is this bundle to be released? Depends on the world, so it is never cached.

The verdicts are kept in var/qualifications, and written to the run in MLflow that tracks the bundle.

Exit code: accepted 0, champion kept 10, failed 1.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec

from contract.statements import Qualification
from contract.strict import encode_json
from contract.verdict import Verdict
from pipelines.building.artifacts import Artifacts
from pipelines.building.config import policy
from pipelines.cli import FAILED, KEPT, OK, command, quiet
from pipelines.delivery.champion import champion as champion_of
from pipelines.delivery.evidence import read_evidence
from pipelines.delivery.judging import OF_THE_RUN, Case, decide, judge_world
from pipelines.delivery.noting import note_qualification
from pipelines.machine.files import replace
from pipelines.machine.processes import Say
from pipelines.machine.settings import Settings
from pipelines.track import require_bundle
from training import model as models
from training.gates.policy import GatePolicy
from training.gates.verdict import audited

EXITS = {"accepted": OK, "kept": KEPT, "failed": FAILED}


@dataclass(frozen=True)
class Qualified:
    """The outcome for one bundle: accepted, kept (the champion stays) or failed, and why."""

    model: str
    digest: str
    outcome: str
    champion: str  # digest, or empty
    reasons: tuple[str, ...]
    verdicts: tuple[Verdict, ...]  # of the gates of the world; the run's own are in the bundle


def qualify(model: str, settings: Settings, artifacts: Path, say: Say = print) -> Qualified:
    """Judge the bundle in `artifacts/MODEL` by its evidence and by the world; keep the outcome in `var`.

    Raises:
        FlightlineError: an artifact is missing, the champion's release does not verify, or something could
            not be measured.
    """
    bundle = require_bundle(model, artifacts)
    limits = policy(model, "gates", GatePolicy)
    current = champion_of(model, settings)
    run = audited(read_evidence(bundle.path), OF_THE_RUN, limits.may_not_apply)
    world = judge_world(Case(bundle, current, Artifacts.of(model, artifacts), limits, settings))
    outcome = decide(run, world, current)
    failed = (*run.failed(), *world.failed())
    qualification = Qualification(
        model=model,
        digest=bundle.digest,
        outcome=outcome,
        champion=current.digest if current else "",
        held_out=bundle.environment.held_out,
        reasons=tuple(f"{item.code} {item.title}: {item.reason}" for item in failed),
        verdicts=world.verdicts,
    )
    replace(settings.qualification(bundle.digest), encode_json(qualification))
    word = "champion kept" if outcome == "kept" else outcome
    found = ", ".join(f"{item.code} {item.value or item.reason}" for item in world.verdicts)
    why = "; ".join(qualification.reasons) or f"every gate passed; {found}"
    say(f"{model}: {word} — {why}")
    return Qualified(
        model, bundle.digest, outcome, qualification.champion, qualification.reasons, world.verdicts
    )


def note(model: str, settings: Settings, artifacts: Path, say: Say = print) -> None:
    """Write the kept outcome to the run in MLflow that tracks the bundle; where that cannot be, say so.

    Raises:
        FlightlineError: there is no bundle, or MLflow refuses.
    """
    note_qualification(require_bundle(model, artifacts), settings, say)


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
    settings = Settings.from_environment()
    found = qualify(
        options.model,
        settings,
        options.artifacts,
        quiet if options.json else print,
    )
    if options.json:
        print(json.dumps(msgspec.to_builtins(found)))
    # On standard error: standard output may be a program's.
    note(options.model, settings, options.artifacts, lambda line: print(line, file=sys.stderr))
    return EXITS[found.outcome]


if __name__ == "__main__":
    command(main)
