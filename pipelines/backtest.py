"""backtest: one training after another as the pipeline would have made it, and what the gates say of each.

For a model split by time: as of `as_of` and the same moment of the following months. For a model split at
random: by one split seed after another. It backs the ranges that policy.yaml quotes beside its thresholds.
"""

import argparse
import contextlib
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec
import numpy as np
import polars as pl

from contract.errors import FlightlineError
from pipelines.building.artifacts import Artifacts, read_json, write_json, write_table
from pipelines.building.config import PARAMS, POLICY, ModelParams, params, policy
from pipelines.building.sources import read_sources
from pipelines.cli import OK, command
from pipelines.evaluate import evaluate
from pipelines.gate import judge_run
from pipelines.split import PARTS
from pipelines.train import train
from training import model as models
from training.evaluation import losses
from training.export import run
from training.features import examples
from training.gates.champion import not_worse
from training.gates.policy import GatePolicy
from training.gates.quality import LOWER_IS_BETTER
from training.gates.verdict import Evidence, Verdict
from training.learning import target
from training.model import AT, LABEL_AT, Curve
from training.splitting import RandomSplit, Split, TimeSplit, split
from training.validation import check_all

MONTHS, SPLITS = 9, 200  # how many trainings where nobody says otherwise
FIGURE = re.compile(r"(?P<name>\w+) (?P<value>[-+.\de]+)")  # as G01 writes them: `fall 0.17, rise 0.001`


@dataclass(frozen=True)
class Trained:
    """One training of the backtest."""

    name: str  # its month or the number of its split
    rows: dict[str, int]
    iterations: int
    figures: dict[str, float]  # what policy.yaml quotes: metrics, gains over the rivals, G01's three numbers
    rivals: dict[str, dict[str, float]]
    verdicts: tuple[Verdict, ...]
    graph: bytes
    test: pl.DataFrame


@dataclass(frozen=True)
class Duel:
    """G05 between a training and an earlier one, on the rows held out from the later."""

    challenger: str
    champion: str
    verdict: Verdict


def backtest(name: str, runs: int) -> Iterator[Trained]:
    """`runs` trainings of the model; features are computed once, since they look only back.

    Raises:
        FlightlineError: the data end before the last of them.
    """
    model, wanted = models.load(name), params(name)
    checked = check_all(model.arrange(read_sources(wanted.ingest)), model.rules)
    tables = {table: found.sound for table, found in checked.items()}
    plan = list(_plan(wanted, runs))
    ((last,),) = model.rows(tables).select(pl.col(LABEL_AT).max()).rows()
    latest = max(as_of for _, _, as_of in plan)
    if isinstance(wanted.split, TimeSplit) and latest > last:
        raise FlightlineError(
            f"the labels of {name} end on {last:%Y-%m-%d}", f"some after {latest:%Y-%m-%d}", "Lower --runs"
        )
    rows = examples(model, tables)
    for title, how, as_of in plan:
        yield _train(name, title, split(rows, how, as_of))


def duels(name: str, trained: list[Trained]) -> list[Duel]:
    """Each training against every earlier one as its champion."""
    contract, limits = models.load(name).contract, policy(name, "gates", GatePolicy)

    def loss(model: Trained, rows: pl.DataFrame) -> np.ndarray:
        return losses(target(rows), run(model.graph, contract, rows)[1], contract)

    found = []
    for index, challenger in enumerate(trained):
        rows = challenger.test
        blocks, own = rows[AT].dt.date().to_numpy(), loss(challenger, rows)
        found += [
            Duel(challenger.name, champion.name, not_worse(own, loss(champion, rows), blocks, limits.G05))
            for champion in trained[:index]
        ]
    return found


def ranges(trained: list[Trained]) -> dict[str, tuple[float, float]]:
    """The least and the most of each figure over the trainings."""
    names = list(trained[0].figures)
    return {
        name: (min(one.figures[name] for one in trained), max(one.figures[name] for one in trained))
        for name in names
    }


def report(trained: list[Trained], fought: list[Duel]) -> str:
    """The findings as Markdown tables; the single trainings only where they are few."""
    parts = [
        _table(
            ("figure", "least", "most"),
            ((n, f"{a:.4f}", f"{b:.4f}") for n, (a, b) in ranges(trained).items()),
        ),
        _table(("gate", "pass", "fail", "not applicable"), _counts(trained)),
    ]
    if fought:
        parts += [_trainings(trained), _matrix(trained, fought)]
    return "\n\n".join(parts)


def main(argv: list[str] | None = None) -> int:
    """Backtest one model."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.backtest",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m pipelines.backtest --model flights",
    )
    parser.add_argument("--model", default="flights", help=f"one of {', '.join(models.names())}")
    parser.add_argument("--runs", type=int, help=f"how many trainings ({MONTHS} months or {SPLITS} splits)")
    parser.add_argument("--json", action="store_true", help="for a program to read")
    options = parser.parse_args(argv)
    by_time = isinstance(params(options.model).split, TimeSplit)
    trained = []
    for one in backtest(options.model, options.runs or (MONTHS if by_time else SPLITS)):
        trained.append(one)
        if by_time:  # a random split takes a tenth of a second, a month ten
            words = ", ".join(f"{verdict.code} {verdict.verdict}" for verdict in one.verdicts)
            print(f"{options.model} as of {one.name}: {words}", file=sys.stderr, flush=True)
    fought = duels(options.model, trained) if by_time else []
    print(_as_json(trained, fought) if options.json else report(trained, fought))
    return OK


def _plan(wanted: ModelParams, runs: int) -> Iterator[tuple[str, TimeSplit | RandomSplit, datetime]]:
    for index in range(runs):
        if isinstance(wanted.split, RandomSplit):
            yield str(index), msgspec.structs.replace(wanted.split, seed=index), wanted.as_of
        else:
            months = wanted.as_of.month - 1 + index
            as_of = wanted.as_of.replace(year=wanted.as_of.year + months // 12, month=months % 12 + 1)
            yield f"{as_of:%Y-%m}", wanted.split, as_of


def _train(name: str, title: str, parts: Split) -> Trained:
    """Run the real stages train and evaluate on `parts` in a folder that is gone afterwards, and judge."""
    settings = [path.absolute() for path in (PARAMS, POLICY)]
    with tempfile.TemporaryDirectory(prefix="flightline-") as folder, contextlib.chdir(folder):
        for path in settings:
            shutil.copy(path, Path())
        artifacts = Artifacts.of(name)
        for part in PARTS:
            write_table(artifacts.split / f"{part}.parquet", getattr(parts, part))
        for stage in (train, evaluate):
            stage(name)
        limits = policy(name, "gates", GatePolicy)
        # Not the probes: they would triple the time, and none of their thresholds comes from a backtest.
        write_json(artifacts.evidence, judge_run(name, artifacts, limits, probed=False))
        metrics = read_json(artifacts.metrics, dict[str, float])
        rivals = read_json(artifacts.rivals, dict[str, dict[str, float]])
        verdicts = read_json(artifacts.evidence, Evidence).verdicts
        metric = policy(name, "gates", GatePolicy).G04.metric
        sign = -1 if metric in LOWER_IS_BETTER else 1
        gains = {f"over_{rival}": sign * (metrics[metric] - rivals[rival][metric]) for rival in rivals}
        learned = {item["name"]: float(item["value"]) for item in FIGURE.finditer(verdicts[0].value)}
        return Trained(
            name=title,
            rows={part: getattr(parts, part).height for part in PARTS},
            iterations=max(len(read_json(artifacts.curve, Curve).validation) - 1, 0),
            figures={**learned, **metrics, **gains},
            rivals=rivals,
            verdicts=verdicts,
            graph=(artifacts.model / "model.onnx").read_bytes(),
            test=parts.test,
        )


def _counts(trained: list[Trained]) -> Iterator[tuple[str, ...]]:
    for index, verdict in enumerate(trained[0].verdicts):
        said = [one.verdicts[index].verdict for one in trained]
        yield verdict.code, *(str(said.count(word)) for word in ("pass", "fail", "not applicable"))


def _trainings(trained: list[Trained]) -> str:
    shown = ("roc_auc", "log_loss", "log_loss_skill", "calibration_error", "fall", "rise", "gap")
    rows = (
        (
            one.name,
            f"{one.rows['train']:,}",
            str(one.iterations),
            *(f"{one.figures[name]:.4f}" if name in one.figures else "" for name in shown),
            *(f"{one.rivals[rival].get('log_loss', float('nan')):.4f}" for rival in ("simple", "baseline")),
            ", ".join(item.code for item in one.verdicts if item.verdict == "fail") or "none",
        )
        for one in trained
    )
    head = ("as of", "rows", "iterations", *shown, "simple's log_loss", "baseline's log_loss", "failed")
    return _table(head, rows)


def _matrix(trained: list[Trained], fought: list[Duel]) -> str:
    """Challengers down, champions across: the mean difference of the loss and its interval."""
    found = {(duel.challenger, duel.champion): duel.verdict for duel in fought}
    names = [one.name for one in trained]
    rows = (
        (
            challenger,
            *(
                f"{found[pair].value} {found[pair].verdict}"
                if (pair := (challenger, champion)) in found
                else ""
                for champion in names[:-1]
            ),
        )
        for challenger in names[1:]
    )
    return _table(("G05: challenger", *(f"against {name}" for name in names[:-1])), rows)


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _as_json(trained: list[Trained], fought: list[Duel]) -> str:
    keep = ("name", "rows", "iterations", "figures", "rivals", "verdicts")
    facts = {
        "ranges": ranges(trained),
        "trainings": [{key: getattr(one, key) for key in keep} for one in trained],
        "duels": fought,
    }
    return json.dumps(msgspec.to_builtins(facts), indent=2)


if __name__ == "__main__":
    command(main)
