"""gate: verdicts on what depends on the run alone. It writes them and exits 0; `qualify` decides."""

import polars as pl

from contract.predictions import SCORE_PREFIX
from pipelines.building.artifacts import Artifacts, existing, read_json, read_table, write_json
from pipelines.building.config import policy
from pipelines.building.stage import stage_main
from pipelines.cli import command
from pipelines.evaluate import FITTED_PREFIX
from training import model as models
from training.gates.again import Again, same_again
from training.gates.graph import is_contract, same_answers
from training.gates.handful import Memorised, overfits
from training.gates.leakage import Leakage, no_leak
from training.gates.learning import converges
from training.gates.policy import GatePolicy
from training.gates.quality import beats_rivals, over_thresholds
from training.gates.verdict import Evidence, Verdict, settle
from training.model import Curve


def gate(name: str) -> str:
    """Write `evidence.json`: one verdict for each gate that needs neither the clock nor the registry."""
    artifacts = Artifacts.of(name)
    evidence = judge_run(name, artifacts, policy(name, "gates", GatePolicy))
    write_json(artifacts.evidence, evidence)
    return ", ".join(f"{verdict.code} {verdict.verdict}" for verdict in evidence.verdicts)


def judge_run(name: str, artifacts: Artifacts, limits: GatePolicy, *, probed: bool = True) -> Evidence:
    """The verdicts on the run whose artifacts these are.

    Without its probes (`probed=False`: a backtest does not pay for them) the evidence lacks G02, G08 and G14,
    and so is none for a release: qualification counts a verdict that is missing as a failure.
    """
    contract = models.load(name).contract
    metrics = read_json(artifacts.metrics, dict[str, float])
    rivals = read_json(artifacts.rivals, dict[str, dict[str, float]])
    # Held-out rows and rows beside the thresholds: which of the two a graph gets wrong is no matter.
    answers = pl.concat([read_table(artifacts.predictions), read_table(artifacts.near)])
    return settle(
        (
            converges(read_json(artifacts.curve, Curve), limits.G01),
            over_thresholds(metrics, limits.G03),
            beats_rivals(metrics, rivals["baseline"], rivals["simple"], limits.G04),
            same_answers(
                answers[f"{FITTED_PREFIX}answer"].to_numpy(),
                answers.select(pl.col(f"^{FITTED_PREFIX}{SCORE_PREFIX}.*$")).to_numpy(),
                answers["answer"].to_numpy(),
                answers.select(pl.col(f"^{SCORE_PREFIX}.*$")).to_numpy(),
                limits.G09,
            ),
            is_contract(
                existing(artifacts.model / "model.onnx").read_bytes(),
                contract,
                read_table(artifacts.split / "test.parquet"),
                limits.G12,
            ),
            *(_probes(artifacts, len(contract.classes), limits) if probed else ()),
        ),
        limits.may_not_apply,
        metrics,
    )


def _probes(artifacts: Artifacts, classes: int, limits: GatePolicy) -> tuple[Verdict, ...]:
    """The verdicts on what the stage `probe` tried."""
    folder = artifacts.probes
    return (
        overfits(read_json(folder / "handful.json", Memorised), classes, limits.G02),
        no_leak(read_json(folder / "leakage.json", Leakage), limits.G08),
        same_again(
            read_json(folder / "again.json", Again),
            existing(artifacts.model / "model.onnx").read_bytes(),
            limits.G14,
        ),
    )


main = stage_main("gate", __doc__ or "", gate)

if __name__ == "__main__":
    command(main)
