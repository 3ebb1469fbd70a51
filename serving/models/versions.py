"""Which models answer: follows the desired state, verifies off the request path, swaps one reference."""

import logging
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

from contract.attestation import Trust, read_trust
from contract.errors import FlightlineError
from serving.models.desired import (
    DESIRED,
    Ack,
    Desired,
    DesiredModel,
    read_desired,
    remove_ack,
    remove_stale_acks,
    write_ack,
)
from serving.models.predictor import Predictor
from serving.settings import Settings

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.2
CLAIMABLE = "/predict/"  # the prefix below which a contract may claim a route


@dataclass(frozen=True)
class Served:
    """One model that answers."""

    predictor: Predictor
    desired: DesiredModel
    loaded_at: datetime


@dataclass(frozen=True)
class Snapshot:
    """Everything that answers at one moment; replaced as a whole, never changed."""

    generation: int = 0
    default: str = ""
    models: Mapping[str, Served] = field(default_factory=lambda: MappingProxyType({}))
    routes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))  # claimed route to model
    refused: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))  # model to sentence


class Versions:
    """Keeps `current` what the desired state asks for, as far as it can be verified."""

    def __init__(self, settings: Settings, on_ready: Callable[[], None] = lambda: None) -> None:
        """Prepare; nothing is read before `start`. `on_ready` is called once, in the watching thread."""
        self.current = Snapshot()
        self.worker = str(os.getpid())
        self._settings, self._on_ready = settings, on_ready
        self._ready = False
        self._problem = f"there is no {DESIRED} yet"
        self._seen: tuple[int, int, int] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="versions")

    @property
    def ready(self) -> bool:
        """Whether every desired model was loaded and verified at least once; never false again."""
        return self._ready

    @property
    def reason(self) -> str:
        """Why the service is not ready, or what is wrong with the newest desired state; empty if nothing."""
        refused = [f"{name}: {sentence}" for name, sentence in sorted(self.current.refused.items())]
        return self._problem or " ".join(refused)

    def start(self) -> None:
        """Start following the desired state."""
        remove_stale_acks(self._settings.state)
        self._thread.start()

    def close(self) -> None:
        """Stop following, and take the acknowledgement back."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        remove_ack(self._settings.state, self.worker)

    def poll(self) -> None:
        """Act on the desired state if its file changed."""
        seen = _identity(self._settings.state / DESIRED)
        if seen == self._seen:
            return
        try:
            desired = read_desired(self._settings.state)
            if desired is None:
                self._problem = f"there is no {DESIRED} yet"
            elif desired.generation < self.current.generation:
                self._problem = (
                    f"the desired state has generation {desired.generation}, "
                    f"older than {self.current.generation}, and is ignored"
                )
            else:
                self._converge(desired)
                self._problem = ""
        except (FlightlineError, OSError) as error:
            self._problem = str(error)  # and try again: what is missing may arrive
        else:
            self._seen = seen

    def _watch(self) -> None:
        while True:
            self.poll()
            if self._stop.wait(POLL_SECONDS):
                return

    def _converge(self, desired: Desired) -> None:
        trust = read_trust(self._settings.trust)
        before = self.current
        models = {name: served for name, served in before.models.items() if name in desired.models}
        refused: dict[str, str] = {}
        # Models that already answer come first: a newcomer cannot take a route from them.
        for name in sorted(desired.models, key=lambda name: (name not in models, name)):
            wanted = desired.models[name]
            if name in models and models[name].desired == wanted:
                continue
            try:
                predictor = self._load(name, wanted, trust, models)
            except FlightlineError as error:
                refused[name] = str(error)
            except Exception as error:
                # Whatever a strange release does to the verifier, the watching thread and the others live on.
                logger.exception("loading %s failed", name)
                refused[name] = (
                    f"{name} failed to load ({type(error).__name__}: {error}); see the service's log."
                )
            else:
                models[name] = Served(predictor=predictor, desired=wanted, loaded_at=datetime.now(UTC))
        self.current = Snapshot(
            generation=desired.generation,
            default=next((name for name in (desired.default, before.default) if name in models), ""),
            models=MappingProxyType(models),
            routes=MappingProxyType(
                {route: name for name, served in models.items() for route in served.predictor.contract.routes}
            ),
            refused=MappingProxyType(refused),
        )
        if not self._ready and len(models) == len(desired.models):
            self._on_ready()
            self._ready = True
        write_ack(
            self._settings.state,
            Ack(
                generation=desired.generation,
                worker=self.worker,
                served={name: served.predictor.bundle.digest for name, served in models.items()},
                refused=refused,
            ),
        )

    def _load(self, name: str, wanted: DesiredModel, trust: Trust, models: dict[str, Served]) -> Predictor:
        predictor = Predictor.load(Path(wanted.release), wanted.digest, wanted.version, trust)
        contract = predictor.contract
        if contract.model != name:
            raise FlightlineError(
                f"the release desired as '{name}' holds '{contract.model}'",
                f"a bundle of {name}",
                "Correct the desired state",
            )
        for route in contract.routes:
            holder = next(
                (
                    n
                    for n, served in models.items()
                    if n != name and route in served.predictor.contract.routes
                ),
                "",
            )
            if holder:
                raise FlightlineError(
                    f"{name} claims the route {route}, which {holder} has",
                    "a route of its own",
                    f"Change the routes of {name}'s contract",
                )
            if not route.startswith(CLAIMABLE) or route == CLAIMABLE:
                raise FlightlineError(
                    f"{name} claims the route {route}",
                    f"a route below {CLAIMABLE}",
                    f"Change the routes of {name}'s contract",
                )
        return predictor


def _identity(path: Path) -> tuple[int, int, int] | None:
    """What differs between two versions of an atomically replaced file; None where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
