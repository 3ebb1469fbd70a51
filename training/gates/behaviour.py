"""G13: does the model answer changed inputs as one that understands the matter would?"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from contract.errors import FlightlineError
from contract.schema import Contract
from training.export import run
from training.gates.policy import Behaves
from training.gates.verdict import Verdict, judge, not_applicable, number
from training.model import Behaviour, columns

_ALONE = 16  # rows that are asked one by one as well


@dataclass(frozen=True)
class Shown:
    """How the last class's score moved from one form of the rows to the other."""

    moved: np.ndarray  # score after the change minus score before it, float64 (rows,)

    def problem(self, behaviour: Behaviour, limits: Behaves) -> str:
        """Why this is not what was expected; empty where it is."""
        rows = len(self.moved)
        if rows < limits.min_rows:
            return f"only {rows} rows can be changed so, policy.yaml asks for {limits.min_rows}"
        if not np.isfinite(self.moved).all():
            return "a score is NaN or infinite"
        if behaviour.expected == "identical":
            worst = float(np.abs(self.moved).max())
            return "" if worst <= limits.rounding else f"a score moved by {number(worst)}"
        if behaviour.expected == "similar":
            good = np.abs(self.moved) <= limits.tolerance
            mean_is_wrong = False
        else:
            upwards = self.moved if behaviour.expected == "not lower" else -self.moved
            good = upwards >= -limits.tolerance
            mean_is_wrong = bool(upwards.mean() < 0)
        share = float(good.mean())
        if share < limits.min_share:
            return f"holds for {share:.3f} of {rows} rows, under {limits.min_share}"
        return f"the mean score moved by {self.moved.mean():+.4f}" if mean_is_wrong else ""


def behaves(
    graph: bytes, contract: Contract, rows: pl.DataFrame, behaviours: tuple[Behaviour, ...], limits: Behaves
) -> Verdict:
    """Every declared behaviour is shown on `rows`, and no row's scores depend on its neighbours.

    Behavioural tests of a model: invariance and directional expectation (Ribeiro et al. 2020, CheckList).
    Trees are not monotone row by row, so directions and similarities are asked of a share of the rows, and
    a direction of the mean over the rows as well.
    """
    threshold = (
        f"{limits.min_share:.0%} of rows within {limits.tolerance}, identical within {limits.rounding}, "
        "0 exceptions"
    )
    if rows.is_empty():
        return judge("G13", "0 rows", threshold, ["there is no held-out row"], "")
    try:
        apart = neighbours_matter(graph, contract, rows)
    except FlightlineError as error:  # G12 says what differs; without an answer there is no behaviour
        return judge("G13", "", threshold, [error.found], "")
    problems = []
    if not apart <= limits.rounding:
        problems.append(f"a row alone, or in another order, is answered {number(apart)} differently")
    broken = 0
    for behaviour in behaviours:
        problem = _broken(graph, contract, rows, behaviour, limits)
        if problem:
            broken += 1
            problems.append(f"'{behaviour.name}' ({behaviour.expected}): {problem}")
    if not behaviours and not problems:
        return not_applicable("G13", "the model declares no behaviour")
    value = f"{len(behaviours) - broken} of {len(behaviours)} shown, {number(apart)} between batches"
    return judge("G13", value, threshold, problems, f"all {len(behaviours)} declared behaviours are shown")


def neighbours_matter(graph: bytes, contract: Contract, rows: pl.DataFrame) -> float:
    """The largest difference of a score between the whole batch and rows backwards, or one at a time.

    Infinite where a score is not a number in either.
    """
    _, whole = run(graph, contract, rows)
    _, backwards = run(graph, contract, rows.reverse())
    some = np.linspace(0, rows.height - 1, min(_ALONE, rows.height)).astype(int)
    alone = np.concatenate([run(graph, contract, rows[[int(index)]])[1] for index in some])
    apart = [np.abs(whole - backwards[::-1]).max(), np.abs(whole[some] - alone).max()]
    return float(np.max(np.nan_to_num(apart, nan=np.inf)))


def _broken(
    graph: bytes, contract: Contract, rows: pl.DataFrame, behaviour: Behaviour, limits: Behaves
) -> str:
    asked = {
        name
        for expression in (behaviour.rows, *behaviour.instead_of, *behaviour.change)
        for name in expression.meta.root_names()
    }
    absent = sorted(asked - set(rows.columns))
    if absent:
        return f"it needs {', '.join(absent)}, which the rows do not have"
    chosen = rows.filter(behaviour.rows)
    before, after = chosen.with_columns(*behaviour.instead_of), chosen.with_columns(*behaviour.change)
    # What changes no input of the graph shows nothing, and neither does a null that stays one.
    here, there = columns(before, contract), columns(after, contract)
    differs = pl.DataFrame([here[name].ne_missing(there[name]) for name in here.columns])
    touched = differs.select(pl.any_horizontal(pl.all())).to_series()
    before, after = before.filter(touched), after.filter(touched)
    if before.is_empty():
        return Shown(np.empty(0)).problem(behaviour, limits)
    scores = [run(graph, contract, frame)[1][:, -1].astype(np.float64) for frame in (before, after)]
    return Shown(scores[1] - scores[0]).problem(behaviour, limits)
