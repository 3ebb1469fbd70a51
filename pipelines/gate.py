"""gate: verdicts on what depends on the run alone. It writes them and exits 0; `qualify` decides."""

import numpy as np
import polars as pl

from contract.predictions import SCORE_PREFIX
from pipelines.building.artifacts import Artifacts, existing, read_json, read_table, sha256, write_json
from pipelines.building.config import policy
from pipelines.building.stage import stage_main
from pipelines.cli import command
from pipelines.evaluate import FITTED_PREFIX
from pipelines.split import PARTS, Facts
from training import model as models
from training.gates.behaviour import behaves
from training.gates.calibration import calibrated
from training.gates.fairness import excess, fair
from training.gates.freshness import held_apart
from training.gates.graph import is_contract, same_answers
from training.gates.learning import converges
from training.gates.policy import GatePolicy
from training.gates.quality import beats_rivals, over_thresholds
from training.gates.verdict import Evidence, settle
from training.learning import target
from training.model import AT, ID, Curve


def gate(name: str) -> str:
    """Write `evidence.json`: one verdict for each gate that needs neither the clock nor the registry."""
    artifacts = Artifacts.of(name)
    evidence = judge_run(name, artifacts, policy(name, "gates", GatePolicy))
    write_json(artifacts.evidence, evidence)
    return ", ".join(f"{verdict.code} {verdict.verdict}" for verdict in evidence.verdicts)


def judge_run(name: str, artifacts: Artifacts, limits: GatePolicy) -> Evidence:
    """The verdicts on the run whose artifacts these are."""
    model = models.load(name)
    contract = model.contract
    metrics = read_json(artifacts.metrics, dict[str, float])
    rivals = read_json(artifacts.rivals, dict[str, dict[str, float]])
    answers = read_table(artifacts.predictions)
    label, scores = target(answers), answers.select(pl.col(f"^{SCORE_PREFIX}.*$")).to_numpy()
    graph = existing(artifacts.model / "model.onnx").read_bytes()
    parts = {part: read_table(artifacts.split / f"{part}.parquet") for part in PARTS}
    facts = read_json(artifacts.facts, Facts)
    by_time = facts.kind == "time"
    blocks = answers[AT].dt.date() if by_time else answers[ID]
    return settle(
        (
            converges(read_json(artifacts.curve, Curve), limits.G01),
            over_thresholds(metrics, limits.G03),
            beats_rivals(metrics, rivals["baseline"], rivals["simple"], limits.G04),
            calibrated(label, scores, contract, limits.G07),
            same_answers(
                answers[f"{FITTED_PREFIX}answer"].to_numpy(),
                answers.select(pl.col(f"^{FITTED_PREFIX}{SCORE_PREFIX}.*$")).to_numpy(),
                answers["answer"].to_numpy(),
                scores,
                limits.G09,
            ),
            is_contract(graph, contract, parts["test"], limits.G12),
            behaves(graph, contract, parts["test"], model.behaviours, limits.G13),
            held_apart(
                parts,
                facts.fit_until if by_time else None,
                facts.held_out,
                sha256(artifacts.split / "test.parquet"),
                limits.G15,
            ),
            fair(
                excess(label, scores, contract),
                _groups(model.fair_by, answers, parts["test"]),
                blocks.to_numpy(),
                limits.G16,
            ),
        ),
        limits.may_not_apply,
        metrics,
    )


def _groups(fair_by: tuple[str, ...], answers: pl.DataFrame, test: pl.DataFrame) -> dict[str, np.ndarray]:
    """The value of each of the features for each answer, by id; empty where there is none."""
    found = answers.select(ID).join(
        test.select(ID, *fair_by).unique(ID, keep="first"), on=ID, how="left", maintain_order="left"
    )
    return {name: found[name].fill_null("").to_numpy().astype(str) for name in fair_by}


main = stage_main("gate", __doc__ or "", gate)

if __name__ == "__main__":
    command(main)
