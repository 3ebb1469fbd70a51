"""Write a finished run to MLflow from its artifacts: `python -m pipelines.track MODEL`.

Idempotent by the bundle's digest: tracking a bundle again completes its run rather than adding one. Runs
whose gates failed are tracked too, since what did not work is worth knowing.
"""

import hashlib
import json
import math
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from contract.bundle import Bundle, open_bundle
from contract.errors import BundleError, FlightlineError
from contract.locks import exclusive
from contract.strict import decode_json, near_miss
from pipelines.building.artifacts import Duration, duration_file
from pipelines.building.config import read_yaml
from pipelines.cli import OK, artifacts_option, command, json_option, parser, quiet
from pipelines.delivery.evidence import read_evidence, without_front_matter
from pipelines.delivery.evidence import tags as gate_tags
from pipelines.delivery.noting import write_qualification
from pipelines.delivery.registry import BUNDLE, DIGEST, Registry, connect
from pipelines.delivery.tracking_server import experiment_link
from pipelines.machine.processes import Say
from pipelines.machine.settings import Settings
from training.model import names

COMPLETE = "tracked"  # tag: set last, so that a run without it is known to be unfinished
PICTURES = {".png", ".svg", ".html", ".json", ".md"}
LINEAGE = ("params.yaml", "policy.yaml", "dvc.lock")  # what a rebuild needs beside the commit
BATCH = 900  # MLflow takes at most 1,000 metrics at once
PARAM_LIMIT = 6000  # characters


@dataclass(frozen=True)
class Tracked:
    """A run in MLflow."""

    run_id: str
    experiment_id: str
    digest: str
    created: bool  # False: the bundle had been tracked before


@dataclass(frozen=True)
class Lineage:
    """Which state of the repository built something."""

    commit: str
    dirty: bool
    dvc_lock: str  # sha256, empty where there is no dvc.lock


def track(model: str, settings: Settings, artifacts: Path, say: Say = print) -> Tracked:
    """Write the run whose outputs are in `artifacts/MODEL` to MLflow.

    Raises:
        FlightlineError: an output is missing, the bundle is not whole, or MLflow does not answer.
    """
    folder = artifacts / model
    bundle = require_bundle(model, artifacts)
    registry = connect(settings)
    with exclusive(settings.var / "track.lock", "tracking of a run"):
        experiment = _experiment(registry, model)
        run = _find(registry, experiment, bundle.digest)
        if run is not None and run.data.tags.get(COMPLETE) == "yes":
            say(f"{model}: bundle {bundle.digest[:12]} is already tracked as run {run.info.run_id}")
            return Tracked(run.info.run_id, experiment, bundle.digest, created=False)
        with registry.explained(f"tracking {model}"):
            if run is None:
                name = f"{model} as of {bundle.environment.as_of[:10]}"
                tags = {DIGEST: bundle.digest}
                run = registry.client.create_run(experiment, tags=tags, run_name=name)
            _write(registry, run, folder, bundle, lineage(artifacts.absolute().parent))
            write_qualification(registry, run.info.run_id, bundle, settings)  # where it was judged before
            registry.client.set_tag(run.info.run_id, COMPLETE, "yes")
    say(f"{model}: tracked as run {run.info.run_id}, {experiment_link(settings, experiment)}")
    return Tracked(run.info.run_id, experiment, bundle.digest, created=True)


def require_bundle(model: str, artifacts: Path) -> Bundle:
    """The verified bundle that the package stage left in `artifacts/MODEL`.

    Raises:
        FlightlineError: there is none, or it is another model's.
    """
    path = artifacts / model / BUNDLE
    if not path.is_dir():
        raise FlightlineError(
            f"{path} does not exist{near_miss(model, [name for name in names() if name != model])}",
            f"the bundle of a built model '{model}'",
            "Run `dvc repro` first",
        )
    try:
        bundle = open_bundle(path)
    except BundleError as error:
        raise BundleError(error.found, error.expected, f"Build it again: make train MODEL={model}") from None
    if bundle.model != model:
        raise FlightlineError(
            f"{path} holds a bundle of '{bundle.model}'", f"one of '{model}'", "Build it again"
        )
    return bundle


def lineage(checkout: Path) -> Lineage:
    """The commit of `checkout`, whether it has uncommitted changes, and the hash of its `dvc.lock`."""
    lock = checkout / "dvc.lock"
    # DVC writes its lock, and a run in a worktree its own parameters; both are kept with the run.
    is_run = (checkout / ".git").is_file()
    generated = [":!dvc.lock", *([":!params.yaml"] if is_run else [])]
    return Lineage(
        commit=_git(checkout, "rev-parse", "HEAD"),
        dirty=bool(_git(checkout, "status", "--porcelain", "--untracked-files=no", "--", ".", *generated)),
        dvc_lock=hashlib.sha256(lock.read_bytes()).hexdigest() if lock.is_file() else "",
    )


def main(argv: list[str] | None = None) -> int:
    """Track one model's run."""
    given = parser("track", __doc__, "track flights")
    given.add_argument("model")
    artifacts_option(given)
    json_option(given)
    options = given.parse_args(argv)
    settings = Settings.from_environment()
    tracked = track(options.model, settings, options.artifacts, quiet if options.json else print)
    if options.json:
        print(json.dumps(asdict(tracked)))
    return OK


def _experiment(registry: Registry, model: str) -> str:
    with registry.explained(f"opening the experiment of {model}"):
        found = registry.client.get_experiment_by_name(model)
        return str(found.experiment_id if found else registry.client.create_experiment(model))


def _find(registry: Registry, experiment: str, digest: str) -> Any:
    with registry.explained("looking for an earlier run"):
        runs = registry.client.search_runs([experiment], f"tags.{DIGEST} = '{digest}'", max_results=1)
    return runs[0] if runs else None


def _write(registry: Registry, run: Any, folder: Path, bundle: Bundle, source: Lineage) -> None:
    from mlflow.entities import Metric, Param, RunTag

    client, run_id = registry.client, run.info.run_id
    checkout = folder.absolute().parents[1]
    began = run.info.start_time  # one timestamp: the same point written twice is one point
    metrics = [
        *(Metric(name, value, began, 0) for name, value in _numbers(folder / "metrics.json")),
        *(Metric(name, value, began, 0) for name, value in _gains(folder / "ablation.json")),
        *(Metric(name, value, began, 0) for name, value in _duration(checkout, bundle)),
        *(Metric(name, value, began, step) for name, step, value in _curve(folder / "curve.json")),
    ]
    for start in range(0, len(metrics), BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + BATCH])
    params = {**_params(checkout, bundle.model), "seed": str(bundle.environment.seed)}
    client.log_batch(
        run_id, params=[Param(name, value[:PARAM_LIMIT]) for name, value in params.items()][:100]
    )
    verdicts = read_evidence(bundle.path).verdicts
    environment = bundle.environment
    tags = {
        "git.commit": source.commit,
        "git.dirty": str(source.dirty).lower(),
        "dvc_lock": source.dvc_lock,
        "data": environment.data,
        "held_out": environment.held_out,
        "as_of": environment.as_of,
        "contract": bundle.contract.fingerprint,
        "gates": "fail" if any(item.verdict == "fail" for item in verdicts) else "pass",
        **gate_tags(verdicts),
        "mlflow.note.content": without_front_matter(
            (bundle.path / "model_card.md").read_text(encoding="utf-8")
        ),
    }
    client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])
    registry.upload(run_id, bundle.path, BUNDLE)
    for path in sorted([*folder.iterdir(), *(folder / "report").glob("*")]):
        if path.is_file() and path.suffix in PICTURES:
            client.log_artifact(run_id, str(path), "report")
    for path in (checkout / name for name in LINEAGE):
        if path.is_file():
            client.log_artifact(run_id, str(path), "lineage")
    client.set_terminated(run_id, "FINISHED")


def _numbers(path: Path) -> Iterator[tuple[str, float]]:
    for name, value in _json(path, dict[str, float | None]).items():
        if value is not None and math.isfinite(value):  # MLflow shows infinity as 1.8e308
            yield name, value


def _gains(path: Path) -> Iterator[tuple[str, float]]:
    """What each group of features adds, with its bounds; a run that was built without it has none."""
    if not path.is_file():
        return
    for group, found in _json(path, dict[str, Any]).get("groups", {}).items():
        for name, value in found.items():
            if value is not None and math.isfinite(value):
                yield f"ablation.{group}.{name}", value


def _duration(checkout: Path, bundle: Bundle) -> Iterator[tuple[str, float]]:
    """How long its training took (M6), unless this graph came from a cache and another one was timed."""
    path = duration_file(bundle.model, checkout)
    if path.is_file():
        found = _json(path, Duration)
        if found.graph == hashlib.sha256((bundle.path / "model.onnx").read_bytes()).hexdigest():
            yield "training_seconds", found.seconds


def _curve(path: Path) -> Iterator[tuple[str, int, float]]:
    curve = _json(path, dict[str, Any])
    for part in ("train", "validation"):
        for step, value in enumerate(curve.get(part, [])):
            if value is not None and math.isfinite(value):
                yield f"{part}.{curve.get('metric', 'loss')}", step, float(value)


def _json(path: Path, into: type[Any]) -> Any:
    try:
        return decode_json(path.read_bytes(), into, path.name)
    except OSError as error:
        raise FlightlineError(
            f"{path} cannot be read ({error.strerror})", "an output of evaluation", "Run `dvc repro` first"
        ) from None


def _params(checkout: Path, model: str) -> dict[str, str]:
    path = checkout / "params.yaml"
    if not path.is_file():
        return {}
    return dict(_flat(read_yaml(path).get(model, {}), ""))


def _flat(value: object, prefix: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(item, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, str(value)


def _git(checkout: Path, *arguments: str) -> str:
    """What git says, or nothing outside a repository: an exported tree may be trained as well."""
    try:
        done = subprocess.run(
            ["git", "-C", str(checkout), *arguments], capture_output=True, text=True, check=False, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


if __name__ == "__main__":
    command(main)
