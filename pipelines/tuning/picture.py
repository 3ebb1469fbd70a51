"""A study as MLflow shows it: one parent run, and a child run for each finished trial, each written once."""

from collections.abc import Iterable
from typing import Any

from pipelines.delivery.registry import Registry
from pipelines.tuning.study import Finished, best

STUDY, TRIAL = "tune.study", "tune.trial"  # tags of the parent; of a child
COMPLETE = "tracked"  # tag: set last, so that a run without it is known to be unfinished
BATCH = 900  # MLflow takes at most 1,000 metrics at once


def show(
    registry: Registry,
    model: str,
    name: str,
    *,
    trials: tuple[Finished, ...],
    facts: dict[str, Any],
    wanted: int,
) -> str:
    """Write what MLflow lacks of the study `name`; the parent's run id. A second call adds nothing.

    Raises:
        FlightlineError: MLflow does not answer.
    """
    with registry.explained(f"showing the study {name}"):
        experiment = _experiment(registry, f"{model}-tuning")
        parent, children = _runs(registry, experiment, name)
        if parent is None:
            parent = registry.client.create_run(experiment, tags={STUDY: name}, run_name=name)
            _params(registry, parent, {key: value for key, value in facts.items() if key != "space"})
            _params(registry, parent, {f"space.{key}": text for key, text in facts["space"].items()})
        for trial in trials:
            child = children.get(trial.place)
            if child is None:
                child = registry.client.create_run(
                    experiment,
                    tags={"mlflow.parentRunId": parent.info.run_id, STUDY: name, TRIAL: str(trial.place)},
                    run_name=f"trial {trial.place}",
                )
            if child.data.tags.get(COMPLETE) != "yes":
                _write(registry, child, trial)
        _summarise(registry, parent, trials, wanted)
    return str(parent.info.run_id)


def _experiment(registry: Registry, name: str) -> str:
    found = registry.client.get_experiment_by_name(name)
    return str(found.experiment_id if found else registry.client.create_experiment(name))


def _runs(registry: Registry, experiment: str, name: str) -> tuple[Any, dict[int, Any]]:
    """The parent run, or None, and the child runs by trial."""
    parent, children, token = None, {}, None
    while True:
        page = registry.client.search_runs([experiment], f"tags.`{STUDY}` = '{name}'", page_token=token)
        for run in page:
            if TRIAL in run.data.tags:
                children[int(run.data.tags[TRIAL])] = run
            else:
                parent = run
        token = page.token
        if not token:
            return parent, children


def _write(registry: Registry, run: Any, trial: Finished) -> None:
    _params(registry, run, trial.params)
    _metrics(
        registry,
        run,
        [
            ("loss", 0, trial.loss),
            ("seconds", 0, trial.seconds),
            *((f"loss.{one['fold']}", 0, one["loss"]) for one in trial.scores),
            *(
                (f"{part}.{one['fold']}", step, value)
                for one in trial.scores
                for part in ("train", "validation")
                for step, value in enumerate(one["curve"][part])
            ),
        ],
    )
    registry.client.set_terminated(run.info.run_id, "FINISHED")
    registry.client.set_tag(run.info.run_id, COMPLETE, "yes")


def _summarise(registry: Registry, parent: Any, trials: tuple[Finished, ...], wanted: int) -> None:
    """The parent's history: the loss of each trial, and the least so far."""
    if not trials:
        return
    _metrics(
        registry,
        parent,
        [
            point
            for trial in trials
            for point in (
                ("loss", trial.place, trial.loss),
                ("best", trial.place, best(trials[: trial.place + 1]).loss),
            )
        ],
    )
    registry.client.set_tag(parent.info.run_id, "best.trial", str(best(trials).place))
    state = "FINISHED" if len(trials) >= wanted else "RUNNING"
    if parent.info.status != state:
        registry.client.update_run(parent.info.run_id, status=state)


def _params(registry: Registry, run: Any, params: dict[str, Any]) -> None:
    from mlflow.entities import Param

    registry.client.log_batch(
        run.info.run_id, params=[Param(name, str(value)) for name, value in sorted(params.items())]
    )


def _metrics(registry: Registry, run: Any, points: Iterable[tuple[str, int, float]]) -> None:
    from mlflow.entities import Metric

    # One timestamp: the same point written twice is one point. A name may hold letters, digits and `. - _ /`.
    began = run.info.start_time
    metrics = [Metric(name.replace(" ", "-"), value, began, step) for name, step, value in points]
    for start in range(0, len(metrics), BATCH):
        registry.client.log_batch(run.info.run_id, metrics=metrics[start : start + BATCH])
