"""The small model answers the well-known request, and nobody told it to."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipelines.building.config import params
from pipelines.building.sources import read_sources
from training.evaluation import measure
from training.export import run, to_onnx
from training.features import examples
from training.learning import target
from training.model import columns
from training.models.iris import CONTRACT, LENGTHS, MODEL, SPECIES
from training.splitting import split
from training.validation import check_all

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
REQUEST = (2.1, 4.5, 3.7, 5.2)


@pytest.fixture(scope="module")
def wanted():
    """The model's parameters."""
    return params("iris", ROOT / "params.yaml")


@pytest.fixture(scope="module")
def parts(wanted):
    """The fixed split of the published flowers."""
    checked = check_all(MODEL.arrange(read_sources(wanted.ingest)), MODEL.rules)
    assert checked["flowers"].rejected.is_empty()
    return split(examples(MODEL, {"flowers": checked["flowers"].sound}), wanted.split, wanted.as_of)


@pytest.fixture(scope="module")
def graph(parts, wanted):
    """The graph of the fitted model."""
    fitted = MODEL.fit(CONTRACT, parts.train, parts.validation, wanted.train, wanted.seed)
    return to_onnx(fitted.pipeline, CONTRACT)


def test_the_well_known_request_is_a_virginica(graph):
    """2.1, 4.5, 3.7, 5.2: no flower that ever was, and the answer is virginica."""
    label, _ = run(graph, CONTRACT, pl.DataFrame([REQUEST], schema=list(LENGTHS), orient="row"))
    assert SPECIES[int(label[0])] == "virginica"


def test_no_training_row_is_the_well_known_request(parts):
    """The answer is the model's own."""
    for part in (parts.train, parts.validation, parts.test):
        apart = np.abs(part.select(LENGTHS).to_numpy() - np.array(REQUEST)).max(axis=1)
        assert apart.min() > 1


def test_the_flowers_are_the_published_ones(parts):
    """150 flowers, 50 of each species, each in one part."""
    together = pl.concat([parts.train, parts.validation, parts.test])
    assert together.height == together["id"].n_unique() == 150
    assert together["label"].value_counts()["count"].to_list() == [50, 50, 50]


def test_the_graph_answers_as_the_classifier_does(graph, parts, wanted):
    """Every held-out flower gets the same species, and decision values that agree."""
    fitted = MODEL.fit(CONTRACT, parts.train, parts.validation, wanted.train, wanted.seed).pipeline
    label, scores = run(graph, CONTRACT, parts.test)
    given = columns(parts.test, CONTRACT).to_numpy()
    assert np.array_equal(label, fitted.predict(given))
    assert np.abs(scores - fitted.decision_function(given)).max() < 1e-5


def test_the_classifier_beats_a_single_question(graph, parts, wanted):
    """One length tells two species apart, never three."""
    _, scores = run(graph, CONTRACT, parts.test)
    simple = MODEL.simple(parts.train, wanted.seed).pipeline
    asked = simple.predict_proba(columns(parts.test, CONTRACT).to_numpy())
    label = target(parts.test)
    assert measure(label, scores, CONTRACT)["accuracy"] > measure(label, asked, CONTRACT)["accuracy"] + 0.1


@pytest.mark.parametrize(
    ("column", "value", "rule"), [("petal_width", 0.0, "positive_lengths"), ("label", 3, "known_species")]
)
def test_an_impossible_flower_is_rejected(wanted, column, value, rule):
    """A length of nothing, or a fourth species."""
    flowers = MODEL.arrange(read_sources(wanted.ingest))["flowers"]
    broken = flowers.with_columns(
        pl.when(pl.col("id") == "flower/0").then(pl.lit(value)).otherwise(column).alias(column)
    )
    checked = check_all({"flowers": broken}, MODEL.rules)["flowers"]
    assert checked.rejected.select("id", "rejected_because").rows() == [("flower/0", rule)]
