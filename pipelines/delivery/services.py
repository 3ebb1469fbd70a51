"""The serving process of an environment, and getting it to serve what is desired."""

import threading
import time
from collections.abc import Collection, Mapping
from pathlib import Path

import httpx

from contract.errors import FlightlineError
from pipelines.delivery.keys import ensure_keys
from pipelines.delivery.next_state import champions, next_state
from pipelines.ledger import Entry, live, models
from pipelines.machine.environments import port_variable
from pipelines.machine.files import replace
from pipelines.machine.processes import Program, Running, Say, family, find, start_all, stop
from pipelines.machine.settings import Settings
from pipelines.machine.tls import authorities
from serving.models.desired import (
    Ack,
    Desired,
    DesiredModel,
    change_desired,
    read_acks,
    read_desired,
    write_desired,
)

ACK_S = 60.0
READY = 200


def program(environment: str, settings: Settings) -> Program:
    """How the service of `environment` is started."""
    declared = settings.environment(environment)
    command = (str(settings.serving_python), "-m", "serving", "--port", str(declared.port))
    several = declared.workers > 1
    return Program(
        name=environment,
        command=(*command, "--workers", str(declared.workers)) if several else command,
        cwd=settings.checkout,
        env={
            "FLIGHTLINE_STATE": str(settings.state(environment)),
            "FLIGHTLINE_TRUST": str(settings.trust),
            "FLIGHTLINE_PREDICTIONS": str(settings.predictions(environment)),
            "FLIGHTLINE_SCORES": str(settings.scores(environment)),
            "FLIGHTLINE_CLOCK": declared.clock,
            "FLIGHTLINE_ADMIN_PORT": "0",  # a free one, which the state folder names
            "BENTOML_DO_NOT_TRACK": "true",
            "DO_NOT_TRACK": "true",
        },
        port=declared.port,
        port_variable=port_variable(environment),
        ready_path="/livez",  # not /readyz: a service that refuses its model is up, and says so in its ack
        setup=f"with clock {declared.clock}" + (f" and {declared.workers} workers" if several else ""),
    )


def prepare(environment: str, settings: Settings) -> None:
    """Give a service what it reads before it is ready: trusted keys and a desired state."""
    ensure_keys(settings.keys)
    state = settings.state(environment)
    if read_desired(state) is None:
        write_desired(state, Desired(generation=1, default="", models={}))


def ensure_service(environment: str, settings: Settings, say: Say = print) -> Running:
    """Start the service of `environment` unless it runs.

    Raises:
        FlightlineError: its port is taken, or it did not start.
    """
    prepare(environment, settings)
    return start_all([program(environment, settings)], settings.processes, settings.logs, say)[0]


def stop_service(environment: str, settings: Settings) -> bool:
    """Stop the service of `environment` if it runs; requests in hand are finished."""
    return stop(settings.processes, environment)


def running(environment: str, settings: Settings) -> Running | None:
    """The service of `environment`, if it runs."""
    return find(settings.processes, environment)


def recorded(environment: str, entries: list[Entry], settings: Settings) -> dict[str, DesiredModel]:
    """What the ledger says `environment` runs: the truth after a deployment that was cut off.

    It ran, so it may run again, even where its contract is older than that of what replaced it.
    """
    found: dict[str, DesiredModel] = {}
    for model in models(entries, environment):
        placed = live(entries, environment, model)
        if placed is not None:
            release = settings.releases / placed.digest
            found[model] = DesiredModel.of(placed.version, str(release), placed.digest, older_contract=True)
    return found


def begin_rollout(environment: str, model: str, version: str, settings: Settings) -> None:
    """Note that `version` is rolled out: other versions and shares of `model` are nobody's wish from here on.

    Whoever makes the model one version again takes the note away. Where it is found by the next who holds the
    environment's lock, the rollout was cut off.
    """
    replace(_rollouts(environment, settings) / model, version.encode() + b"\n")


def unfinished(environment: str, settings: Settings) -> frozenset[str]:
    """The models of which a rollout is under way; to a holder of the environment's lock: was cut off."""
    folder = _rollouts(environment, settings)
    if not folder.exists():
        return frozenset()
    return frozenset(path.name for path in folder.iterdir() if not path.name.startswith("."))


def desire(
    environment: str, wanted: Mapping[str, DesiredModel], settings: Settings, exact: Collection[str] = ()
) -> int:
    """Write the next generation of the desired state and return its number.

    A model whose champion stays keeps its other versions, its split and its mirror, unless it is one of
    `exact`, or a rollout left them behind.
    """
    left = unfinished(environment, settings)
    generation = change_desired(
        settings.state(environment), lambda before: next_state(before, wanted, {*exact, *left})
    ).generation
    end_rollouts(environment, wanted, left, settings)
    return generation


def end_rollouts(
    environment: str, wanted: Mapping[str, DesiredModel], left: Collection[str], settings: Settings
) -> None:
    """Take away the notes of those rollouts in `left` whose model is one version again, or gone."""
    for model in left:
        if model not in wanted or len(wanted[model].versions) == 1:
            (_rollouts(environment, settings) / model).unlink(missing_ok=True)


def converge(
    environment: str,
    wanted: Mapping[str, DesiredModel],
    settings: Settings,
    wait_s: float = ACK_S,
    exact: Collection[str] = (),
) -> int:
    """Have every worker of the running service serve `wanted`; the generation it took. `exact`: see `desire`.

    Raises:
        FlightlineError: a worker refused a model, with its sentence, or did not answer in time.
    """
    generation = desire(environment, wanted, settings, exact)
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        acks = _acks(environment, settings)
        if acks and all(ack.generation >= generation for ack in acks):
            for ack in acks:
                _require_accepted(environment, ack, wanted)
            # A later generation may have been written by hand: what counts is which bundles answer.
            if all(ack.served == _digests(wanted) and _has_loaded(ack, wanted) for ack in acks):
                _await_ready(environment, settings, deadline)
                return generation
        if running(environment, settings) is None:
            break
        threading.Event().wait(0.05)
    raise FlightlineError(
        f"{environment} did not serve what generation {generation} asks for within {wait_s:.0f} s",
        "every worker to acknowledge it",
        f"Read {settings.logs / environment}.log",
    )


def _require_accepted(environment: str, ack: Ack, wanted: Mapping[str, DesiredModel]) -> None:
    for model, asked in sorted(wanted.items()):
        for version in sorted(asked.versions):
            sentence = ack.refused.get(f"{model}@{version}")
            if sentence is not None:
                raise FlightlineError(
                    f"{environment} refused {model}: {sentence.rstrip('.')}",
                    "a release it can serve",
                    "What ran before keeps running",
                )


def _has_loaded(ack: Ack, wanted: Mapping[str, DesiredModel]) -> bool:
    """Whether the worker has every version that is to stand beside a default one."""
    return all(
        ack.versions.get(name, {}).get(version) == asked.digest
        for name, model in wanted.items()
        if len(model.versions) > 1
        for version, asked in model.versions.items()
    )


def ready(environment: str, settings: Settings) -> bool:
    """Whether the service says that it can answer."""
    try:
        answer = httpx.get(
            f"{settings.service_url(environment)}/readyz", timeout=5.0, trust_env=False, verify=authorities()
        )
    except httpx.TransportError:
        return False
    return answer.status_code == READY


def what_is_lacking(environment: str, settings: Settings, wait_s: float = 15.0) -> str:
    """Why a service that runs cannot answer for what is desired of it; empty when it can."""
    desired = read_desired(settings.state(environment))
    if desired is None or not desired.models:
        return "no model is deployed yet"
    deadline = time.monotonic() + wait_s
    while not ready(environment, settings):
        if time.monotonic() > deadline:
            return f"not ready: {_own_words(environment, settings)}"
        threading.Event().wait(0.1)
    return ""


def _own_words(environment: str, settings: Settings) -> str:
    """The reasons that the service itself gives in /status."""
    try:
        answer = httpx.get(f"{settings.service_url(environment)}/status", timeout=5.0, trust_env=False)
        found = answer.raise_for_status().json()
    except httpx.HTTPError as error:
        return f"it does not answer ({error})"
    return "; ".join([*found["refused"].values(), found["reason"]]).strip("; ") or "it is still loading"


def intact(wanted: Mapping[str, DesiredModel], environment: str, settings: Settings) -> bool:
    """Whether the champions on disk and in the workers' answers are those of `wanted`."""
    desired = read_desired(settings.state(environment))
    acks = _acks(environment, settings)
    return (
        desired is not None
        and not unfinished(environment, settings)
        and champions(desired.models) == champions(wanted)
        and bool(acks)
        and all(ack.served == _digests(wanted) for ack in acks)
    )


def _acks(environment: str, settings: Settings) -> list[Ack]:
    """What the service's own workers have come to.

    A killed worker leaves its file behind, and its pid may be somebody else's by now.
    """
    service = running(environment, settings)
    workers = family(service) if service else frozenset()
    acks = read_acks(settings.state(environment))
    return [ack for worker, ack in acks.items() if worker.isdigit() and int(worker) in workers]


def _rollouts(environment: str, settings: Settings) -> Path:
    """Beside the state folder, which is the service's."""
    return settings.state(environment).parent / "rollouts"


def _digests(wanted: Mapping[str, DesiredModel]) -> dict[str, str]:
    return {name: model.champion.digest for name, model in wanted.items()}


def _await_ready(environment: str, settings: Settings, deadline: float) -> None:
    while not ready(environment, settings):
        if time.monotonic() > deadline:
            raise FlightlineError(
                f"{environment} loaded its models but is not ready", "200 from /readyz", "Read its log"
            )
        threading.Event().wait(0.05)
