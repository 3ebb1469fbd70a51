"""What a backtest found of one model, as data: the tables and the picture are drawn from it alone."""

import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import msgspec
import numpy as np
import polars as pl

from pipelines.backtesting.comparison import Comparison, comparable, compare
from pipelines.backtesting.strategies import MONTHLY, ON_DECISION, STATIC, monthly, on_decision, static
from pipelines.backtesting.trainings import MONTHS, SPLITS, Data, Plan, Trained, figures, plan, read, train
from pipelines.backtesting.world import World
from pipelines.building.config import params, policy
from pipelines.machine.processes import Say
from training import model as models
from training.evaluation import losses
from training.export import run
from training.gates.champion import not_worse
from training.gates.policy import GatePolicy
from training.gates.verdict import Verdict
from training.learning import target
from training.model import AT
from training.splitting import TimeSplit

OUTCOMES = ("pass", "fail", "not applicable")


class Training(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One training in numbers."""

    name: str
    rows: dict[str, int]  # by part of the split
    iterations: int
    figures: dict[str, float]
    rivals: dict[str, dict[str, float]]  # the simple model's and the baseline's metrics on the same rows
    failed: tuple[str, ...]  # `CODE reason`


class Duel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """G05 between a training and an earlier one, on the rows held out from the later."""

    challenger: str
    champion: str
    difference: float  # mean loss of the challenger minus the champion's
    verdict: str
    value: str  # the same with its interval, as the gate says it


class Findings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that docs/backtest.md shows of one model."""

    trainings: tuple[Training, ...]
    gates: dict[str, dict[str, int]]  # code -> outcome -> how many trainings
    duels: tuple[Duel, ...] = ()
    comparison: Comparison | None = None  # where a model is split by time and its scores can be compared

    def ranges(self) -> dict[str, tuple[float, float]]:
        """The least and the most of each figure over the trainings, and of a retraining a month later."""
        names = list(dict.fromkeys(name for one in self.trainings for name in one.figures))
        found = {
            name: _range(one.figures[name] for one in self.trainings if name in one.figures) for name in names
        }
        order = [one.name for one in self.trainings]
        before = dict(zip(order[1:], order, strict=False))
        moves = [duel.difference for duel in self.duels if before[duel.challenger] == duel.champion]
        return {**found, "over_the_month_before": _range(moves)} if moves else found


def to_stderr(line: str) -> None:
    """Say what goes on beside the output."""
    print(line, file=sys.stderr, flush=True)


def backtest(name: str, runs: int | None = None, say: Say = to_stderr) -> Findings:
    """Train `runs` times, and where time passes between the trainings, compare and challenge them.

    Raises:
        FlightlineError: the data end before the last training, or a stage refuses its input.
    """
    wanted = params(name)
    by_time = isinstance(wanted.split, TimeSplit)
    plans = list(plan(wanted, runs or (MONTHS if by_time else SPLITS)))
    say(f"{name}: reading the data and computing the features of {len(plans)} trainings")
    data = read(name, wanted, plans)
    with tempfile.TemporaryDirectory(prefix="flightline-") as place:
        folder = Path(place)
        return _by_time(name, plans, data, folder, say) if by_time else _by_seed(name, plans, data, folder)


def _by_seed(name: str, plans: list[Plan], data: Data, folder: Path) -> Findings:
    trained = []
    for item in plans:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            trained.append(train(name, item, data, Path(place) / "run", until="gate"))
    return _findings(name, trained)


def _by_time(name: str, plans: list[Plan], data: Data, folder: Path, say: Say) -> Findings:
    trained: dict[str, Trained] = {}
    for item in plans:
        trained[item.name] = one = train(name, item, data, folder / "runs" / item.name)
        words = ", ".join(f"{verdict.code} {verdict.verdict}" for verdict in one.verdicts)
        say(f"{name} as of {item.name}: {words}")
    found = _findings(name, list(trained.values()))
    contract = models.load(name).contract
    comparison = None
    if comparable(contract):
        months = list(trained)
        chosen = {STATIC: static(months), MONTHLY: monthly(months)}
        chosen[ON_DECISION] = on_decision(months, World(name, data, trained, folder / "var"))
        for step in chosen[ON_DECISION].steps:
            say(f"{name} at the end of {step.month}: {step.action} {step.outcome} ({step.reason})")
        comparison = compare(contract, data, trained, chosen)
    return msgspec.structs.replace(found, duels=tuple(_duels(name, trained)), comparison=comparison)


def _findings(name: str, trained: list[Trained]) -> Findings:
    limits = policy(name, "gates", GatePolicy)
    return Findings(
        trainings=tuple(
            Training(
                one.name,
                one.rows,
                one.iterations,
                figures(one, limits),
                one.rivals,
                tuple(f"{item.code} {item.reason}" for item in one.verdicts if item.verdict == "fail"),
            )
            for one in trained
        ),
        gates=_counts(verdict for one in trained for verdict in one.verdicts),
    )


def _counts(verdicts: Iterable[Verdict]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for verdict in verdicts:
        found.setdefault(verdict.code, dict.fromkeys(OUTCOMES, 0))[verdict.verdict] += 1
    return dict(sorted(found.items()))


def _duels(name: str, trained: dict[str, Trained]) -> list[Duel]:
    """Each training against every earlier one as its champion."""
    contract, limits = models.load(name).contract, policy(name, "gates", GatePolicy)

    def loss(one: Trained, rows: pl.DataFrame) -> np.ndarray:
        return losses(target(rows), run(one.graph, contract, rows)[1], contract)

    found, earlier = [], list[Trained]()
    for challenger in trained.values():
        rows = challenger.test
        blocks, own = rows[AT].dt.date().to_numpy(), loss(challenger, rows)
        for champion in earlier:
            other = loss(champion, rows)
            verdict = not_worse(own, other, blocks, limits.G05)
            difference = float((own - other).mean())
            found.append(Duel(challenger.name, champion.name, difference, verdict.verdict, verdict.value))
        earlier.append(challenger)
    return found


def _range(values: Iterable[float]) -> tuple[float, float]:
    several = list(values)
    return min(several), max(several)
