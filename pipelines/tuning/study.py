"""A study that can be stopped at any moment: its trials are in SQLite, and each depends on its place alone.

A sampler with one seed would draw other numbers after an interruption than without one. So each trial has a
sampler of its own, seeded by the study's seed and the number of finished trials before it, which is what it
learns from as well. A trial that was cut off is marked as failed and made again with the same values.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contract.errors import FlightlineError
from contract.locks import exclusive
from pipelines.building.config import Search
from pipelines.tuning.space import rounded

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution

FACTS, SCORES, PARAMS, SECONDS = "facts", "scores", "params", "seconds"


@dataclass(frozen=True)
class Finished:
    """One finished trial."""

    place: int  # finished trials before it: 0 is the present parameters
    params: dict[str, Any]  # the searched ones
    loss: float  # mean over the folds
    scores: tuple[dict[str, Any], ...]  # one a fold: fold, loss, curve
    seconds: float


Objective = Callable[[dict[str, Any]], tuple[dict[str, Any], ...]]


def facts_digest(facts: dict[str, Any]) -> str:
    """A short hash of what makes the losses of two trials comparable."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:8]


@contextmanager
def opened(path: Path, name: str, facts: dict[str, Any]) -> Iterator["Study"]:
    """The study `name` in the database `path`, made if it is new, held by us alone.

    Raises:
        FlightlineError: it is being searched by another process, or was made from other facts.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(path.with_suffix(".lock"), "search of hyperparameters", wait_s=2.0):
        storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
        try:
            study = optuna.create_study(study_name=name, storage=storage, load_if_exists=True)
            _require_same(study, facts, name)
            for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
                # We hold the lock, so whoever ran it is gone.
                study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            yield study
        finally:
            storage.remove_session()
            storage.engine.dispose()


def finished(study: "Study") -> tuple[Finished, ...]:
    """The finished trials in their order; those that were cut off do not count."""
    from optuna.trial import TrialState

    found = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return tuple(
        Finished(
            place,
            trial.user_attrs[PARAMS],
            float(trial.values[0]),
            tuple(trial.user_attrs[SCORES]),
            trial.user_attrs[SECONDS],
        )
        for place, trial in enumerate(sorted(found, key=lambda trial: trial.number))
    )


def best(trials: tuple[Finished, ...]) -> Finished:
    """The trial with the least loss; of equal ones the first, so the present parameters win a tie."""
    return min(trials, key=lambda trial: (trial.loss, trial.place))


def search(
    study: "Study",
    space: tuple[dict[str, Search], dict[str, "BaseDistribution"]],
    present: dict[str, Any],
    objective: Objective,
    *,
    trials: int,
    seed: int,
) -> Iterator[Finished]:
    """Run trials until `trials` are finished, each given out as it ends. The first one is `present`.

    Raises:
        FlightlineError: a loss is not finite.
    """
    from optuna.samplers import TPESampler
    from optuna.trial import TrialState

    searched, ranges = space
    place = len(finished(study))
    while place < trials:
        study.sampler = TPESampler(seed=seed + place)
        if place == 0 and not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            study.enqueue_trial(present)
        trial = study.ask(ranges)
        params = {name: rounded(name, value, searched) for name, value in trial.params.items()}
        params = dict(present) if place == 0 else params
        began = time.monotonic()
        scores = objective(params)
        loss = sum(one["loss"] for one in scores) / len(scores)
        if not abs(loss) < float("inf"):
            raise FlightlineError(
                f"the loss of {params} is {loss}", "a finite number", "Narrow tune.space in params.yaml"
            )
        trial.set_user_attr(PARAMS, params)
        trial.set_user_attr(SCORES, list(scores))
        trial.set_user_attr(SECONDS, round(time.monotonic() - began, 2))
        study.tell(trial, loss)  # last: until then the trial counts as cut off
        yield finished(study)[place]
        place += 1


def _require_same(study: "Study", facts: dict[str, Any], name: str) -> None:
    known = study.user_attrs.get(FACTS)
    if known is None:
        study.set_user_attr(FACTS, facts)
        return
    other = sorted(key for key in {*known, *facts} if known.get(key) != facts.get(key))
    if other:
        raise FlightlineError(
            f"the study '{name}' was made from other {', '.join(other)}",
            "one whose losses can be compared with new ones",
            "Choose another name, or leave --study out",
        )
