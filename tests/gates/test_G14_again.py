"""G14 bites when the same rows, parameters and seed give another model."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from pipelines.evaluate import evaluate
from pipelines.gate import gate
from pipelines.probe import again
from pipelines.train import train
from tests.conftest import toy_contract, toy_graph
from tests.gates.workshop import ROOT, at_full_size
from training.gates.again import Again, same_again, train_again
from training.gates.policy import Reproducible
from training.learning import boosted_trees, support_vectors
from training.models import iris

LIMITS = Reproducible(graph="same bytes")
GRAPH = toy_graph(toy_contract("toy"))
HASH = hashlib.sha256(GRAPH).hexdigest()

# A process in which flights forgets a feature: which one, a set of strings says.
BY_HASH = """
import dataclasses, sys
from importlib import import_module
from training.learning import boosted_trees
from training.models import flights

def fit(contract, rows, validation, params, seed):
    names = {feature.name for feature in flights.CONTRACT.numbers}
    first = next(iter(names))
    return boosted_trees(contract, rows.with_columns(rows[first] * 0), validation, params, seed)

flights.MODEL = dataclasses.replace(flights.MODEL, fit=fit)
module, part = sys.argv[1].split(":")
getattr(import_module(module), part)("flights")
"""


def flowers(seed: int) -> pl.DataFrame:
    """Ninety random flowers of three kinds."""
    random = np.random.default_rng(seed)
    rows = pl.DataFrame({name: random.normal(size=90) for name in iris.LENGTHS})
    return rows.with_columns(label=pl.Series(np.arange(90) % 3))


@pytest.mark.unit
def test_the_same_graph_passes():
    """Byte for byte."""
    assert same_again(Again(HASH, HASH, 0.0), GRAPH, LIMITS).verdict == "pass"


@pytest.mark.unit
def test_another_graph_fails_though_its_scores_are_the_same():
    """The rows that were asked may simply not tell them apart."""
    found = same_again(Again(HASH, "0" * 64, 0.0), GRAPH, LIMITS)
    assert found.verdict == "fail"
    assert "gave another graph, whose scores differ by up to 0" in found.reason


@pytest.mark.unit
def test_a_comparison_with_another_graph_than_the_shipped_fails():
    """What was trained again since is not what lies there now."""
    found = same_again(Again("0" * 64, "0" * 64, 0.0), GRAPH, LIMITS)
    assert "compared with another graph than the one that ships" in found.reason


@pytest.mark.unit
def test_a_second_training_is_compared_by_hash_and_by_score():
    """Of the rows that made it the same; of other rows another, with the largest difference of a score."""
    one, other = flowers(0), flowers(1)
    first = train_again(iris.MODEL, one, one, iris.Params(1.0, "scale"), 0, shipped=iris_graph(one))
    assert (first.shipped, first.difference) == (first.again, 0.0)
    second = train_again(iris.MODEL, other, one, iris.Params(1.0, "scale"), 0, shipped=iris_graph(one))
    assert second.shipped == first.shipped != second.again
    assert second.difference > 0.01


def iris_graph(rows: pl.DataFrame) -> bytes:
    """What the stage `train` would ship."""
    from training.export import to_onnx

    return to_onnx(support_vectors(iris.CONTRACT, rows, 1.0, "scale", 0).pipeline, iris.CONTRACT)


@at_full_size
def test_a_fit_of_global_chance_is_stopped(workshop, patch_model):
    """It draws its rows from numpy's global generator, which no seed of ours reaches."""

    def by_chance(contract, rows, validation, params, seed):
        drawn = rows[np.random.randint(0, rows.height, rows.height)]  # noqa: NPY002 - this is the mistake
        return boosted_trees(contract, drawn, validation, params, seed)

    workshop.change("params.yaml", "train.max_iter", 40)
    patch_model(fit=by_chance)
    workshop.rebuild(train, probes=(again,))
    assert "G14" in workshop.failed()
    assert "gave another graph" in workshop.verdicts()["G14"].reason
    workshop.must_stop("G14")


@pytest.mark.slow
def test_a_fit_that_depends_on_the_order_of_hashes_is_stopped(workshop):
    """Train and probe are processes with different hash seeds, as DVC runs them."""
    workshop.change("params.yaml", "train.max_iter", 40)
    for part, seed in (("pipelines.train:train", "1"), ("pipelines.probe:again", "14")):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        subprocess.run(
            [sys.executable, "-c", BY_HASH, part],
            cwd=workshop.folder,
            env=environment,
            check=True,
            timeout=120,
        )
    workshop.rebuild(evaluate, evaluate)
    workshop.rebuild(gate)
    assert "gave another graph" in workshop.verdicts()["G14"].reason
    workshop.must_stop("G14")


@pytest.mark.unit
def test_the_pipeline_probes_under_a_hash_seed_of_its_own():
    """The command that DVC runs says so: otherwise both processes might be given the same one."""
    assert "PYTHONHASHSEED=14 python -m pipelines.probe" in (ROOT / "dvc.yaml").read_text()
