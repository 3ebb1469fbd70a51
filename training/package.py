"""What goes into a bundle beside the graph: golden rows, the monitoring reference, the model card."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from contract.bundle import Environment, Golden, GoldenRow
from contract.predictions import FEATURE_PREFIX, SCORE_PREFIX
from contract.schema import Contract
from training.export import run
from training.gates.verdict import Evidence
from training.model import AT, ID

GOLDEN_ROWS = 20
REFERENCE_ROWS = 20_000
TOLERANCE = 1e-5  # of a score, between two builds of onnxruntime


def golden(graph: bytes, contract: Contract, test: pl.DataFrame) -> Golden:
    """Held-out rows spread evenly from the surest to the least sure answer, with those answers."""
    _, scores = run(graph, contract, test)
    order = np.argsort(scores[:, -1], kind="stable")
    picked = np.sort(order[np.linspace(0, test.height - 1, min(GOLDEN_ROWS, test.height)).astype(int)])
    rows = test[picked]
    label, scores = run(graph, contract, rows)
    numbers = {feature.name for feature in contract.numbers}
    given = rows.select(
        # Exactly what a float32 holds, so that the row and the answer belong together to the last bit.
        pl.col(feature.name).cast(pl.Float32).cast(pl.Float64) if feature.name in numbers else feature.name
        for feature in contract.features
    )
    return Golden(
        tolerance=TOLERANCE,
        rows=tuple(
            GoldenRow(row=row, label=contract.classes[answer], scores=tuple(float(score) for score in line))
            for row, answer, line in zip(given.iter_rows(named=True), label, scores, strict=True)
        ),
    )


def reference(graph: bytes, contract: Contract, train: pl.DataFrame, seed: int) -> pl.DataFrame:
    """A sample of training rows with the model's answers, in the columns of the prediction log, and `day`."""
    rows = train.sample(min(REFERENCE_ROWS, train.height), seed=seed).sort(AT, ID)
    label, scores = run(graph, contract, rows)
    return rows.select(
        pl.Series("label", [contract.classes[answer] for answer in label], pl.String),
        pl.col(AT).dt.date().alias("day"),
        *(pl.col(feature.name).alias(FEATURE_PREFIX + feature.name) for feature in contract.features),
        *(
            pl.Series(SCORE_PREFIX + name, scores[:, index].astype(np.float64))
            for index, name in enumerate(contract.classes)
        ),
    )


def card(
    contract: Contract,
    environment: Environment,
    metrics: Mapping[str, float],
    rivals: Mapping[str, Mapping[str, float]],
    evidence: Evidence,
) -> str:
    """The model card in Hugging Face's shape: YAML front matter, then Markdown; all of it from the facts."""
    front = "\n".join(
        [
            "---",
            "library_name: onnx",
            "pipeline_tag: tabular-classification",
            f"model_name: {contract.model}",
            "---",
        ]
    )
    table = [
        "| metric | model | simple model | baseline |",
        "| --- | --- | --- | --- |",
        *(
            _row(name, *(_cell(found, name) for found in (metrics, rivals["simple"], rivals["baseline"])))
            for name in sorted(metrics)
        ),
    ]
    inputs = [
        "| feature | source | meaning | unit |",
        "| --- | --- | --- | --- |",
        *(_row(item.name, item.source, item.description, item.unit) for item in contract.features),
    ]
    return (
        "\n\n".join(
            [
                front,
                f"# {contract.model}",
                f"Answers: {contract.target} ({', '.join(contract.classes)}).",
                f"As of {environment.as_of}, fitted until {environment.fit_until}, seed {environment.seed}.",
                "## Evaluation\n\nOn held-out rows, by the graph that ships.\n\n" + "\n".join(table),
                "## Gates\n\n" + gate_table(evidence),
                "## Inputs\n\n" + "\n".join(inputs),
            ]
        )
        + "\n"
    )


def gate_table(evidence: Evidence) -> str:
    """The verdicts as a Markdown table."""
    return "\n".join(
        [
            "| gate | verdict | found | threshold | because |",
            "| --- | --- | --- | --- | --- |",
            *(
                _row(f"{item.code} {item.title}", item.verdict, item.value, item.threshold, item.reason)
                for item in evidence.verdicts
            ),
        ]
    )


def _row(*cells: str) -> str:
    plain = (" ".join(cell.split()).replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(plain)} |"


def _cell(metrics: Mapping[str, float], name: str) -> str:
    return f"{metrics[name]:.4f}" if name in metrics else "-"
