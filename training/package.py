"""What goes into a bundle beside the graph and its card: golden rows and the monitoring reference."""

import numpy as np
import polars as pl

from contract.bundle import Golden, GoldenRow
from contract.predictions import FEATURE_PREFIX, SCORE_PREFIX
from contract.schema import Contract
from training.export import run
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
