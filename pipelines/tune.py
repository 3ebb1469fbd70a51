"""tune: search hyperparameters with a study that is logged, shown in MLflow and continued where it stopped.

A choice is scored on the validation days, and on earlier days with `folds` above 1; the held-out rows are not
read. The first trial is the present parameters. The search space is `tune` in params.yaml.
"""

import argparse
import json
import re
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import yaml

from contract.errors import ConfigError, FlightlineError
from pipelines.building.artifacts import Artifacts, existing, read_json, read_table, sha256
from pipelines.building.config import PARAMS, ModelParams, TuneParams, params
from pipelines.building.facts import Facts
from pipelines.cli import OK, command, quiet
from pipelines.closure import closure
from pipelines.delivery.registry import Registry, connect
from pipelines.delivery.tracking_server import NoAnswerError
from pipelines.machine.processes import Say
from pipelines.machine.settings import ROOT, Settings
from pipelines.tuning import study as studies
from pipelines.tuning.picture import show
from pipelines.tuning.space import distributions, require_inside
from pipelines.tuning.study import Finished
from pipelines.tuning.writing import write_params
from training import model as models
from training.tuning import folds, score

LEARNABLE = ("train", "validation")  # the only parts that a study reads
LIBRARIES = ("numpy", "scikit-learn", "optuna")


@dataclass(frozen=True)
class Tuned:
    """What a study has found."""

    model: str
    study: str
    trials: tuple[Finished, ...]
    best: Finished
    train: dict[str, Any]  # the whole `train` section with the best values
    run_id: str  # of the parent run in MLflow; empty where MLflow did not answer

    @property
    def gain(self) -> float:
        """How much lower the loss is than that of the present parameters."""
        return self.trials[0].loss - self.best.loss


def tune(
    model: str,
    settings: Settings,
    artifacts: Path = Path("artifacts"),
    *,
    trials: int | None = None,
    name: str | None = None,
    say: Say = print,
) -> Tuned:
    """Search until `trials` trials are finished (params.yaml), those of earlier calls included.

    Raises:
        FlightlineError: there is nothing to search or to learn from, the study is another one's, or it is
            being searched by another process.
    """
    declared, wanted = models.load(model), params(model)
    how = _section(model, wanted)
    present = msgspec.to_builtins(wanted.train)
    require_inside(present, how.space, f"{PARAMS}, {model}.train")
    split_rows = Artifacts.of(model, artifacts)
    paths = [split_rows.split / f"{part}.parquet" for part in LEARNABLE]
    rows = pl.concat(read_table(path) for path in paths)
    until = read_json(existing(split_rows.facts), Facts).fit_until
    parts = folds(rows, wanted.split, until, how.folds)
    facts = _facts(model, wanted, how, sha256(*paths))
    title = _named(name) if name else f"{model}-{studies.facts_digest(facts)}"
    count = trials or how.trials

    def objective(values: dict[str, Any]) -> tuple[dict[str, Any], ...]:
        chosen = msgspec.convert({**present, **values}, declared.params)
        return tuple(msgspec.to_builtins(score(declared, fold, chosen, wanted.seed)) for fold in parts)

    screen = _Screen((model, title), facts, count, settings, say)
    with studies.opened(settings.var / "tuning" / f"{model}.db", title, facts) as study:
        done = studies.finished(study)
        began = f"{len(done)} of {count} trials are finished" if done else f"{count} trials"
        say(f"{model}: study {title}, {began}; scored on {', '.join(fold.name for fold in parts)}")
        screen.update(done)
        searched = {key: present[key] for key in how.space}
        space = (how.space, distributions(how.space, declared.params))
        for _ in studies.search(study, space, searched, objective, trials=count, seed=wanted.seed):
            done = studies.finished(study)
            screen.tell(done)
            screen.update(done)
    winner = studies.best(done)
    return Tuned(model, title, done, winner, {**present, **winner.params}, screen.run_id)


class _Screen:
    """What is said of a study while it goes on, and what MLflow shows of it where it answers."""

    def __init__(
        self, what: tuple[str, str], facts: dict[str, Any], count: int, settings: Settings, say: Say
    ) -> None:
        self.run_id = ""
        self._what, self._facts, self._count, self._say = what, facts, count, say
        self._registry: Registry | None = None
        try:
            self._registry = connect(settings)
        except NoAnswerError as error:
            self._give_up(error)

    def tell(self, done: tuple[Finished, ...]) -> None:
        """One line about the latest trial."""
        last, first = done[-1], studies.best(done)
        values = ", ".join(f"{name} {value}" for name, value in last.params.items())
        self._say(
            f"  trial {last.place} of {self._count - 1}: loss {last.loss:.5f}, {last.seconds:.1f} s "
            f"(best {first.loss:.5f}, trial {first.place}): {values}"
        )

    def update(self, done: tuple[Finished, ...]) -> None:
        """Bring MLflow up to date; a study goes on without it."""
        if self._registry is None:
            return
        try:
            self.run_id = show(
                self._registry, *self._what, trials=done, facts=self._facts, wanted=self._count
            )
        except NoAnswerError as error:
            self._registry = None
            self._give_up(error)

    def _give_up(self, error: FlightlineError) -> None:
        self._say(f"  MLflow does not show this study yet ({error.found}); the next call with MLflow up does")


def _section(model: str, wanted: ModelParams) -> TuneParams:
    if wanted.tune is None or not wanted.tune.space:
        raise ConfigError(
            f"{PARAMS}, {model} has no tune.space", "the hyperparameters to search", f"Add it to {PARAMS}"
        )
    return wanted.tune


def _facts(model: str, wanted: ModelParams, how: TuneParams, rows: str) -> dict[str, Any]:
    """Whatever a trial's loss depends on beside the searched values themselves."""
    present = msgspec.to_builtins(wanted.train)
    code = [path for path in closure(ROOT, "tune", model) if path.startswith(("contract/", "training/"))]
    facts = {
        "rows": rows,
        "split": msgspec.to_builtins(wanted.split),
        "seed": wanted.seed,
        "folds": how.folds,
        "fixed": {key: value for key, value in present.items() if key not in how.space},
        "space": {key: msgspec.to_builtins(search) for key, search in sorted(how.space.items())},
        "code": sha256(*(ROOT / path for path in code)),
        "libraries": {library: metadata.version(library) for library in LIBRARIES},
    }
    return dict(json.loads(json.dumps(facts)))  # as the study's database gives them back


def _named(name: str) -> str:
    if not re.fullmatch(r"[\w.-]+", name):
        raise ConfigError(
            f"the study's name is '{name}'", "letters, digits, '.', '-' and '_'", "Choose another one"
        )
    return name


def verdict(found: Tuned) -> str:
    """One sentence: is the best trial better than the present parameters, and in how many folds."""
    first, winner = found.trials[0], found.best
    if winner.place == 0:
        return (
            f"{found.model}: none of {len(found.trials)} trials is better than the present parameters "
            f"(loss {first.loss:.5f})"
        )
    better = sum(
        ours["loss"] < theirs["loss"] for ours, theirs in zip(winner.scores, first.scores, strict=True)
    )
    return (
        f"{found.model}: trial {winner.place} of {len(found.trials)} is the best, loss {winner.loss:.5f}; "
        f"trial 0 {first.loss:.5f}; lower by {found.gain:.5f}, in {better} of {len(first.scores)} folds"
    )


def main(argv: list[str] | None = None) -> int:
    """Tune one model."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.tune",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m pipelines.tune flights --trials 30",
    )
    parser.add_argument("model", help=f"one of {', '.join(models.names())}")
    parser.add_argument("--trials", type=_positive, help="finished trials to reach (params.yaml)")
    parser.add_argument("--study", help="its name (made from rows, space, seed and code)")
    parser.add_argument("--write", action="store_true", help="put the best values into params.yaml")
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts"), help="holds MODEL/split")
    parser.add_argument("--json", action="store_true", help="for a program to read")
    options = parser.parse_args(argv)
    say = quiet if options.json else print
    models.load(options.model)
    found = tune(
        options.model,
        Settings.from_environment(),
        options.artifacts,
        trials=options.trials,
        name=options.study,
        say=say,
    )
    say(verdict(found))
    say(yaml.safe_dump({found.model: {"train": found.train}}, sort_keys=False).rstrip())
    written = False
    if options.write:
        written = write_params(PARAMS, found.model, found.best.params)
        say(f"{PARAMS}: {'written' if written else 'has these values'}")
    if options.json:
        print(json.dumps({**_plain(found), "written": written}))
    return OK


def _plain(found: Tuned) -> dict[str, Any]:
    """For a program; the curves, which are long, stay in the study."""
    plain = {**asdict(found), "gain": found.gain}
    for trial in (*plain["trials"], plain["best"]):
        trial["scores"] = [{"fold": one["fold"], "loss": one["loss"]} for one in trial["scores"]]
    return plain


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of trials; expected 1 or more")
    return int(text)


if __name__ == "__main__":
    command(main)
