"""A day and a half of real flights, over a night: their features offline, and a release that takes them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from contract.bundle import Golden, GoldenRow
from contract.graphs import onnxruntime
from pipelines.building.config import params
from pipelines.building.sources import read_sources
from tests.conftest import toy_graph
from training.features import examples
from training.model import columns
from training.models.flights import MODEL
from training.validation import check_all

ROOT = Path(__file__).parents[2]
CONTRACT = MODEL.contract
NAMES = [feature.name for feature in CONTRACT.stored]
SENT = [feature.name for feature in CONTRACT.features if not feature.stored]  # what only a caller knows
SEED = 83
START, END = datetime(2013, 6, 26, 12, tzinfo=UTC), datetime(2013, 6, 28, tzinfo=UTC)


def read_sound():
    """The year's tables as the pipeline validates them."""
    arranged = MODEL.arrange(read_sources(params("flights", ROOT / "params.yaml").ingest))
    return {name: checked.sound for name, checked in check_all(arranged, MODEL.rules).items()}


def sample(sound, count):
    """`count` flights of the period with their features offline, and the keys of each."""
    found = (
        examples(MODEL, sound, START + timedelta(minutes=1), END).sample(count, seed=SEED).sort("at", "id")
    )
    return found.join(MODEL.rows(sound).select("id", *CONTRACT.keys), on="id", how="left")


def arrays(flights):
    """The inputs of the graph: float32 (rows, numbers), strings (rows, categories)."""
    frame = columns(flights, CONTRACT)
    numbers = frame.select(feature.name for feature in CONTRACT.numbers).to_numpy().astype(np.float32)
    words = frame.select(feature.name for feature in CONTRACT.categories).to_numpy().astype(object)
    return {"numbers": numbers, "categories": words}


def answer(flights):
    """Classes and scores of the graph, from the offline features."""
    session = onnxruntime().InferenceSession(toy_graph(CONTRACT), providers=["CPUExecutionProvider"])
    labels, scores = session.run(["label", "scores"], arrays(flights))
    return [CONTRACT.classes[label] for label in labels], scores


def release_of(build_release, folder, flights):
    """A release of the flights contract; its graph is a toy, what counts here is what goes into it."""
    labels, scores = answer(flights.head(4))
    rows = flights.head(4).select(feature.name for feature in CONTRACT.features).to_dicts()
    golden = Golden(
        tolerance=1e-4,
        rows=tuple(
            GoldenRow(row=row, label=label, scores=tuple(map(float, line)))
            for row, label, line in zip(rows, labels, scores, strict=True)
        ),
    )
    return build_release(folder, contract=CONTRACT, graph=toy_graph(CONTRACT), golden=golden)


def streams(sound, after, until):
    """The events of each stream in (after, until]."""
    tables = MODEL.events(sound).items()
    return {name: table.filter(pl.col("at") > after, pl.col("at") <= until) for name, table in tables}
