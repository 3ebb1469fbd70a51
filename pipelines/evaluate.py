"""evaluate: the graph that ships, on the held-out rows, beside its rivals and the pipeline it came from."""

from typing import Any

import numpy as np
import polars as pl

from contract.predictions import SCORE_PREFIX
from contract.schema import Contract
from pipelines.building.artifacts import Artifacts, existing, read_table, write_json, write_table
from pipelines.building.stage import stage_main
from pipelines.cli import command
from training import model as models
from training.evaluation import measure, prior_scores
from training.export import run
from training.gates.beside import beside_thresholds
from training.learning import answers, target
from training.model import KEYS

FITTED_PREFIX = "fitted."  # the same columns as answered by scikit-learn
SIMPLE_PREFIX = "simple."  # and as answered by the simple model, which G06 compares with


def evaluate(name: str) -> str:
    """Write `metrics.json`, `rivals.json`, `predictions.parquet` and `near.parquet`.

    `near.parquet` has the answers, of the graph and of scikit-learn, on rows moved beside the thresholds.
    """
    model, artifacts = models.load(name), Artifacts.of(name)
    contract = model.contract
    test = read_table(artifacts.split / "test.parquet")
    label = target(test)
    graph = existing(artifacts.model / "model.onnx").read_bytes()
    answer, scores = run(graph, contract, test)
    fitted = _answers(artifacts, "fitted", contract, test)
    simple = _answers(artifacts, "simple", contract, test)
    prior = prior_scores(target(read_table(artifacts.split / "train.parquet")), test.height, contract)
    metrics = measure(label, scores, contract)
    rivals = {
        "baseline": measure(label, prior, contract),
        "simple": measure(label, simple[1], contract),
    }
    if "log_loss" in metrics:
        # The share of the trivial baseline's loss that the model takes away: comparable between months whose
        # base rates differ, which the loss itself is not.
        metrics["log_loss_skill"] = 1 - metrics["log_loss"] / rivals["baseline"]["log_loss"]
    write_json(artifacts.metrics, metrics)
    write_json(artifacts.rivals, rivals)
    answers = _both(test, contract, (answer, scores), fitted)
    rival = _columns(f"{SIMPLE_PREFIX}{SCORE_PREFIX}", contract, simple[1])
    write_table(artifacts.predictions, answers.with_columns(*rival))
    near = beside_thresholds(_fitted(artifacts, "fitted"), contract, test)
    beside = run(graph, contract, near), _answers(artifacts, "fitted", contract, near)
    write_table(artifacts.near, _both(near, contract, *beside))
    return ", ".join(f"{metric} {value:.4f}" for metric, value in sorted(metrics.items()))


def _answers(artifacts: Artifacts, which: str, contract: Contract, rows: pl.DataFrame) -> tuple[Any, Any]:
    return answers(_fitted(artifacts, which), contract, rows)


def _fitted(artifacts: Artifacts, which: str) -> Any:
    import joblib  # the stages after this one import this module, and load nothing

    return joblib.load(existing(artifacts.model / f"{which}.joblib"))


def answers_of(predictions: pl.DataFrame, contract: Contract) -> np.ndarray:
    """The scores (rows, classes) of the graph that ships, from `predictions.parquet`."""
    return predictions.select(SCORE_PREFIX + name for name in contract.classes).to_numpy()


def _both(rows: pl.DataFrame, contract: Contract, graph: Any, fitted: Any) -> pl.DataFrame:
    """The keys of `rows` with label and scores as the graph and as scikit-learn gave them."""
    return rows.select(KEYS).with_columns(
        pl.Series("answer", graph[0]),
        pl.Series(f"{FITTED_PREFIX}answer", fitted[0]),
        *_columns(SCORE_PREFIX, contract, graph[1]),
        *_columns(f"{FITTED_PREFIX}{SCORE_PREFIX}", contract, fitted[1]),
    )


def _columns(prefix: str, contract: Contract, scores: Any) -> list[pl.Series]:
    return [pl.Series(prefix + name, scores[:, index]) for index, name in enumerate(contract.classes)]


main = stage_main("evaluate", __doc__ or "", evaluate)

if __name__ == "__main__":
    command(main)
