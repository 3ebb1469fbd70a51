"""G05 and G06: a challenger beside the champion, or where nothing is live beside its own simple model."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl

from contract.bundle import Bundle
from contract.errors import FlightlineError
from contract.predictions import SCORE_PREFIX
from pipelines.building.artifacts import read_table
from pipelines.evaluate import SIMPLE_PREFIX
from training import model as models
from training.evaluation import blocks, losses
from training.export import run
from training.gates.champion import not_worse
from training.gates.policy import GatePolicy
from training.gates.slices import no_worse_slice
from training.gates.verdict import Verdict, judge, not_applicable
from training.learning import target
from training.model import AT, ID

RULE = "both are judged on rows that neither saw"


def compare(
    challenger: Bundle, champion: Bundle | None, test: pl.DataFrame, limits: GatePolicy, *, by_day: bool
) -> Verdict:
    """G05: both graphs on the challenger's held-out rows, of which the champion must have seen none.

    The blocks of the comparison are UTC days where rows have a time of their own (`by_day`); else every row
    is one. In New York a UTC day ends at seven or eight in the evening.
    """
    if champion is None:
        return not_applicable("G05", "no champion serves in production")
    problem = obstacle(challenger, champion, test)
    if problem:
        return judge("G05", "", RULE, [problem], "")
    return not_worse(loss(challenger, test), loss(champion, test), blocks(test, by_day=by_day), limits.G05)


def compare_slices(
    challenger: Bundle,
    champion: Bundle | None,
    test: pl.DataFrame,
    limits: GatePolicy,
    predictions: Path,
    *,
    by_day: bool,
) -> Verdict:
    """G06: the same for each slice that the model declares; without a champion against its simple model.

    The simple model's answers come from the run's table of predictions, so that nothing is unpickled here.
    """
    if champion is not None:
        problem = obstacle(challenger, champion, test)
        if problem:
            return judge("G06", "", RULE, [problem], "")
        rival, others = "champion", loss(champion, test)
    else:
        rival, others = "simple model", simple_loss(challenger, test, predictions)
    difference = loss(challenger, test) - others
    members = slices(challenger.model, test)
    return no_worse_slice(difference, blocks(test, by_day=by_day), members, rival, limits.G06)


def obstacle(challenger: Bundle, champion: Bundle, test: pl.DataFrame) -> str:
    """Why the two cannot be compared on the rows of `test`; empty where they can."""
    same_rows = champion.environment.held_out == challenger.environment.held_out
    first, until = test[AT].sort()[0], champion.environment.fit_until
    if not same_rows and first < datetime.fromisoformat(until):
        return f"the champion was fitted on rows until {until}, the test starts {first}"
    absent = [item.name for item in champion.contract.features if item.name not in test.columns]
    if absent:
        return f"the champion needs {', '.join(absent)}, which is built no more"
    for what in ("classes", "scores"):
        ours, theirs = (getattr(item.contract, what) for item in (challenger, champion))
        if ours != theirs:  # their losses would not be of one unit
            return f"the champion's {what} are {theirs}, the challenger's {ours}"
    return ""


def loss(bundle: Bundle, test: pl.DataFrame) -> np.ndarray:
    """The loss of each row by the graph that ships, float64 (rows,)."""
    scores = run(bundle.read("model.onnx"), bundle.contract, test)[1]
    return losses(target(test), scores, bundle.contract)


def simple_loss(challenger: Bundle, test: pl.DataFrame, predictions: Path) -> np.ndarray:
    """The loss of each row by the simple model of the same run, float64 (rows,).

    Raises:
        FlightlineError: the table holds no answers of it, or is about other rows.
    """
    answers = read_table(predictions)
    wanted = [f"{SIMPLE_PREFIX}{SCORE_PREFIX}{name}" for name in challenger.contract.classes]
    if not set(wanted) <= set(answers.columns) or not answers[ID].equals(test[ID]):
        raise FlightlineError(
            f"{predictions} does not hold the simple model's answers to the held-out rows",
            f"{', '.join(wanted)} for each of {test.height} rows",
            "Run: make repro (or dvc repro)",
        )
    return losses(target(test), answers.select(wanted).to_numpy(), challenger.contract)


def slices(model: str, test: pl.DataFrame) -> Mapping[str, np.ndarray]:
    """The slices that the model declares, each with the rows of `test` in it, bool (rows,)."""
    declared = models.load(model).slices
    found = test.select(item.rows.fill_null(value=False).alias(item.name) for item in declared)
    return {item.name: found[item.name].to_numpy() for item in declared}
