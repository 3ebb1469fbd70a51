"""gate: verdicts on what depends on the run alone. It writes them and exits 0; `qualify` decides."""

import numpy as np
import polars as pl

from contract.predictions import SCORE_PREFIX
from pipelines.building.artifacts import Artifacts, existing, read_json, read_table, sha256, write_json
from pipelines.building.config import policy
from pipelines.building.facts import PARTS, Facts
from pipelines.building.stage import stage_main
from pipelines.cli import command
from pipelines.evaluate import FITTED_PREFIX
from training import model as models
from training.evaluation import blocks
from training.gates.again import Again, same_again
from training.gates.behaviour import behaves
from training.gates.calibration import calibrated
from training.gates.fairness import excess, fair
from training.gates.freshness import held_apart
from training.gates.graph import is_contract, same_answers
from training.gates.handful import Memorised, overfits
from training.gates.leakage import Leakage, no_leak
from training.gates.learning import converges
from training.gates.policy import GatePolicy
from training.gates.quality import beats_rivals, over_thresholds
from training.gates.verdict import Evidence, Verdict, settle
from training.learning import target
from training.model import ID, Curve, Model

Verdicts = tuple[Verdict, ...]


def gate(name: str) -> str:
    """Write `evidence.json`: one verdict for each gate that needs neither the clock nor the registry."""
    artifacts = Artifacts.of(name)
    evidence = judge_run(name, artifacts, policy(name, "gates", GatePolicy))
    write_json(artifacts.evidence, evidence)
    return ", ".join(f"{verdict.code} {verdict.verdict}" for verdict in evidence.verdicts)


def judge_run(name: str, artifacts: Artifacts, limits: GatePolicy) -> Evidence:
    """The verdicts on the run whose artifacts these are."""
    model = models.load(name)
    graph = existing(artifacts.model / "model.onnx").read_bytes()
    return settle(
        (
            converges(read_json(artifacts.curve, Curve), limits.G01),
            *_figures(artifacts, limits),
            *_probes(artifacts, len(model.contract.classes), graph, limits),
            *_graph(artifacts, model, graph, limits),
            *_held_out(artifacts, model, limits),
        ),
        limits.may_not_apply,
        read_json(artifacts.metrics, dict[str, float]),
    )


def _figures(artifacts: Artifacts, limits: GatePolicy) -> Verdicts:
    """G03 and G04, from the metrics."""
    metrics = read_json(artifacts.metrics, dict[str, float])
    rivals = read_json(artifacts.rivals, dict[str, dict[str, float]])
    return (
        over_thresholds(metrics, limits.G03),
        beats_rivals(metrics, rivals["baseline"], rivals["simple"], limits.G04),
    )


def _probes(artifacts: Artifacts, classes: int, graph: bytes, limits: GatePolicy) -> Verdicts:
    """G02, G08 and G14, from what the stages `probe` and `split` tried."""
    folder = artifacts.probes
    return (
        overfits(read_json(folder / "handful.json", Memorised), classes, limits.G02),
        no_leak(read_json(artifacts.leakage, Leakage), limits.G08),
        same_again(read_json(folder / "again.json", Again), graph, limits.G14),
    )


def _graph(artifacts: Artifacts, model: Model, graph: bytes, limits: GatePolicy) -> Verdicts:
    """G09, G12 and G13, from what the graph answers."""
    test, near = read_table(artifacts.split / "test.parquet"), read_table(artifacts.near)
    # Held-out rows and rows beside the thresholds: which of the two a graph gets wrong is no matter.
    answers = pl.concat([read_table(artifacts.predictions).select(near.columns), near])
    return (
        same_answers(
            answers[f"{FITTED_PREFIX}answer"].to_numpy(),
            answers.select(pl.col(f"^{FITTED_PREFIX}{SCORE_PREFIX}.*$")).to_numpy(),
            answers["answer"].to_numpy(),
            answers.select(pl.col(f"^{SCORE_PREFIX}.*$")).to_numpy(),
            limits.G09,
        ),
        is_contract(graph, model.contract, test, limits.G12),
        behaves(graph, model.contract, test, model.behaviours, limits.G13),
    )


def _held_out(artifacts: Artifacts, model: Model, limits: GatePolicy) -> Verdicts:
    """G07, G15 and G16, from the held-out rows and the answers to them."""
    answers = read_table(artifacts.predictions)
    label, scores = target(answers), answers.select(pl.col(f"^{SCORE_PREFIX}.*$")).to_numpy()
    parts = {part: read_table(artifacts.split / f"{part}.parquet") for part in PARTS}
    facts = read_json(artifacts.facts, Facts)
    by_time = facts.kind == "time"
    return (
        calibrated(label, scores, model.contract, limits.G07),
        held_apart(
            parts,
            facts.fit_until if by_time else None,
            facts.held_out,
            sha256(artifacts.split / "test.parquet"),
            limits.G15,
        ),
        fair(
            excess(label, scores, model.contract),
            _groups(model.fair_by, answers, parts["test"]),
            blocks(answers, by_day=by_time),
            limits.G16,
        ),
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
