"""One training after another by the pipeline's own stages, each in a folder of its own."""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from contract.errors import FlightlineError
from pipelines.building.artifacts import Artifacts, read_json, write_table
from pipelines.building.config import PARAMS, POLICY, ModelParams, params, read_yaml
from pipelines.building.facts import PARTS, Facts
from pipelines.building.sources import read_sources
from pipelines.machine.settings import ROOT
from pipelines.split import keep, leakage
from pipelines.validate import validate
from training import model as models
from training.features import examples as examples_of
from training.gates.policy import GatePolicy
from training.gates.quality import LOWER_IS_BETTER
from training.gates.verdict import Evidence, Verdict
from training.model import AT, LABEL_AT, Curve, Tables
from training.splitting import RandomSplit, TimeSplit
from training.splitting import split as cut
from training.validation import check_all

MONTHS, SPLITS = 9, 200  # how many trainings where nobody says otherwise


@dataclass(frozen=True)
class Plan:
    """One training to make: its name, its moment and what is else in its parameters."""

    name: str  # its month or the number of its split
    as_of: datetime
    seed: int | None = None  # of a random split


@dataclass(frozen=True)
class Data:
    """A model's facts and examples of all time; each training sees the part that was known at its moment."""

    raw: Tables
    examples: pl.DataFrame


@dataclass(frozen=True)
class Trained:
    """One training of the backtest."""

    name: str
    as_of: datetime
    learnt_until: datetime | None  # the last arrival among the labels it was fitted or stopped early on
    rows: dict[str, int]
    iterations: int
    metrics: dict[str, float]
    rivals: dict[str, dict[str, float]]
    learned: dict[str, float]  # fall, rise and gap of its curve, as G01 judges them
    verdicts: tuple[Verdict, ...]
    graph: bytes
    test: pl.DataFrame
    folder: Path  # holds its params.yaml, policy.yaml and artifacts/

    def gains(self, metric: str) -> dict[str, float]:
        """By how much `metric` is better than each rival's, in its own unit."""
        sign = -1 if metric in LOWER_IS_BETTER else 1
        return {
            f"over_{rival}": sign * (self.metrics[metric] - found[metric])
            for rival, found in self.rivals.items()
        }


def plan(wanted: ModelParams, runs: int) -> Iterator[Plan]:
    """`runs` trainings: one split seed after another, or `as_of` and the same moment of the next months."""
    for index in range(runs):
        if isinstance(wanted.split, RandomSplit):
            yield Plan(str(index), wanted.as_of, index)
        else:
            months = wanted.as_of.month - 1 + index
            as_of = wanted.as_of.replace(year=wanted.as_of.year + months // 12, month=months % 12 + 1)
            yield Plan(f"{as_of:%Y-%m}", as_of)


def read(name: str, wanted: ModelParams, plans: list[Plan]) -> Data:
    """The data of `plans`. Features are computed once, since they look only back.

    Raises:
        FlightlineError: the labels end before the last of them.
    """
    model = models.load(name)
    raw = model.arrange(read_sources(wanted.ingest))
    tables = {table: found.sound for table, found in check_all(raw, model.rules).items()}
    ((last,),) = model.rows(tables).select(pl.col(LABEL_AT).max()).rows()
    latest = max(item.as_of for item in plans)
    if isinstance(wanted.split, TimeSplit) and latest > last:
        raise FlightlineError(
            f"the labels of {name} end on {last:%Y-%m-%d}", f"some after {latest:%Y-%m-%d}", "Lower --runs"
        )
    return Data(raw, examples_of(model, tables))


def train(name: str, item: Plan, data: Data, folder: Path, until: str = "package") -> Trained:
    """Make one training in the new `folder` with the real stages, from `validate` to the stage `until`.

    Only the features are not computed again: the examples of `data` are cut as the stage `split` cuts them.
    """
    model = models.load(name)
    _settings(name, item, folder)
    artifacts = Artifacts.of(name)
    with contextlib.chdir(folder):
        wanted = params(name)
        for table, rows in model.known(data.raw, item.as_of).items():
            write_table(artifacts.raw / f"{table}.parquet", rows)
        validate(name)
        parts = cut(data.examples, wanted.split, item.as_of)
        facts = keep(parts, wanted.split, _unlabelled(data.examples, item.as_of), artifacts)
        leakage(name)
        for stage in stages(until):
            stage(name)
        return _read(item, Artifacts.of(name, folder / "artifacts"), folder, facts)


def stages(until: str) -> list[Callable[[str], str]]:
    """The stages after `split` that dvc.yaml needs for `until`, in its order; each is `pipelines.STAGE`.

    Raises:
        FlightlineError: dvc.yaml declares no such stage.
    """
    declared = read_yaml(ROOT / "dvc.yaml")["stages"]
    if until not in declared:
        raise FlightlineError(f"dvc.yaml has no stage '{until}'", ", ".join(declared), "Name one of them")
    before, pending = {"ingest", "validate", "split"}, [until]
    needed: set[str] = set()
    while pending:
        name = pending.pop()
        needed.add(name)
        inputs = [str(path) for path in _how(declared[name]).get("deps", [])]
        for other, stage in declared.items():
            made = any(_overlap(path, out) for path in inputs for out in _outs(_how(stage)))
            if made and other not in needed | before:
                pending.append(other)
    return [getattr(import_module(f"pipelines.{name}"), name) for name in declared if name in needed]


def _unlabelled(examples: pl.DataFrame, as_of: datetime) -> int:
    """Examples up to `as_of` whose label had not arrived by then, or never will."""
    arrived = (pl.col(LABEL_AT) <= as_of).fill_null(value=False)
    return examples.filter((pl.col(AT) <= as_of) & ~arrived).height


def figures(trained: Trained, limits: GatePolicy) -> dict[str, float]:
    """What policy.yaml quotes of a training: its curve's three numbers, its metrics, what it gains."""
    return {**trained.learned, **trained.metrics, **trained.gains(limits.G04.metric)}


def _how(stage: dict[str, Any]) -> dict[str, Any]:
    """What a stage does, for each model or once."""
    return dict(stage.get("do", stage))


def _outs(stage: dict[str, Any]) -> list[str]:
    items = [item for kind in ("outs", "metrics", "plots") for item in stage.get(kind, [])]
    return [next(iter(item)) if isinstance(item, dict) else str(item) for item in items]


def _overlap(one: str, other: str) -> bool:
    """Whether one path is the other, or lies below it."""
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


def _settings(name: str, item: Plan, folder: Path) -> None:
    """The repository's own settings, with the moment (and the split's seed) of this training."""
    everything = read_yaml(PARAMS)
    everything[name]["as_of"] = f"{item.as_of.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    if item.seed is not None:
        everything[name]["split"]["seed"] = item.seed
    folder.mkdir(parents=True)
    (folder / PARAMS).write_text(yaml.safe_dump(everything, sort_keys=False), "utf-8")
    shutil.copy(POLICY, folder / POLICY)


def _read(item: Plan, artifacts: Artifacts, folder: Path, facts: Facts) -> Trained:
    parts = {part: pl.read_parquet(artifacts.split / f"{part}.parquet") for part in PARTS}
    curve = read_json(artifacts.curve, Curve)
    return Trained(
        name=item.name,
        as_of=item.as_of,
        learnt_until=_last(parts["train"], parts["validation"]),
        rows=facts.rows,
        iterations=max(len(curve.validation) - 1, 0),
        metrics=read_json(artifacts.metrics, dict[str, float]),
        rivals=read_json(artifacts.rivals, dict[str, dict[str, float]]),
        learned=_learned(curve),
        verdicts=read_json(artifacts.evidence, Evidence).verdicts,
        graph=(artifacts.model / "model.onnx").read_bytes(),
        test=parts["test"],
        folder=folder,
    )


def _last(*parts: pl.DataFrame) -> datetime | None:
    """When the last label of `parts` arrived; None where labels have no time."""
    last: datetime | None = pl.concat(part.select(LABEL_AT) for part in parts).max().item()
    return last


def _learned(curve: Curve) -> dict[str, float]:
    if not (curve.train and curve.validation):
        return {}
    first, best, last = curve.validation[0], min(curve.validation), curve.validation[-1]
    return {"fall": 1 - best / first, "rise": last - best, "gap": last - curve.train[-1]}
