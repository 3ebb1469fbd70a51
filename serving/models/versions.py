"""Which models answer: follows the desired state, verifies off the request path, swaps one reference."""

import logging
import os
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

from contract.attestation import Trust, read_trust
from contract.errors import BundleError, FlightlineError
from serving.models.compatibility import narrower
from serving.models.desired import (
    DESIRED,
    Ack,
    Desired,
    DesiredModel,
    DesiredVersion,
    remove_ack,
    remove_stale_acks,
    write_ack,
)
from serving.models.predictor import Predictor
from serving.models.snapshot import NotServedError, Served, ServedModel, Snapshot
from serving.models.source import Source
from serving.models.traffic import bounds
from serving.models.workers import Presence
from serving.settings import Settings

__all__ = ["NotServedError", "Served", "ServedModel", "Snapshot", "Versions"]

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.2
FETCH_SECONDS = 3.0  # until a release that could not be fetched is asked for again
CLAIMABLE = "/predict/"  # the prefix below which a contract may claim a route


class Versions:
    """Keeps `current` what the desired state asks for, as far as it can be verified."""

    def __init__(self, settings: Settings, on_ready: Callable[[], None] = lambda: None) -> None:
        """Prepare; nothing is read before `start`. `on_ready` is called once, in the watching thread."""
        self.current = Snapshot()
        self.worker = str(os.getpid())
        self._settings, self._on_ready = settings, on_ready
        self._source = Source(settings)
        self._presence = Presence(settings.state, self.worker)
        self._ready = False
        # A service of one release needs no such file.
        self._problem = "its release is being loaded" if settings.pinned else f"there is no {DESIRED} yet"
        self._seen: object = None
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
        remove_ack(self._settings.state, self.worker)  # of a dead process that had the same number
        remove_stale_acks(self._settings.state)
        self._presence.begin()
        self._thread.start()

    def close(self) -> None:
        """Stop following, and take the acknowledgement back."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        remove_ack(self._settings.state, self.worker)
        self._presence.end()

    def poll(self) -> None:
        """Act on the desired state if it changed."""
        seen = self._source.identity()
        if seen == self._seen:
            return
        try:
            desired = self._source.read()
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
            missing = self._settings.pinned and self._seen is None
            if self._stop.wait(FETCH_SECONDS if missing else POLL_SECONDS):
                return

    def _converge(self, desired: Desired) -> None:
        """Load what is new beside what answers; then exchange everything at once."""
        trust = read_trust(self._settings.trust)
        before = self.current
        loaded = {name: model for name, model in before.loaded.items() if name in desired.models}
        refused: dict[str, str] = {}
        # Models that already answer come first: a newcomer cannot take a route from them.
        for name in sorted(desired.models, key=lambda name: (name not in loaded, name)):
            model = self._model(name, desired.models[name], trust, loaded, refused)
            if model is not None:
                loaded[name] = model
        self.current = Snapshot(
            generation=desired.generation,
            default=next((name for name in (desired.default, before.default) if name in loaded), ""),
            models=MappingProxyType({name: model.default for name, model in loaded.items()}),
            routes=MappingProxyType({route: name for name in loaded for route in _routes(loaded[name])}),
            refused=MappingProxyType(refused),
            loaded=MappingProxyType(loaded),
        )
        if not self._ready and len(loaded) == len(desired.models):
            self._on_ready()
            self._ready = True
        write_ack(self._settings.state, _ack(self.current, self.worker))

    def _model(
        self,
        name: str,
        wanted: DesiredModel,
        trust: Trust,
        loaded: Mapping[str, ServedModel],
        refused: dict[str, str],
    ) -> ServedModel | None:
        """`wanted` as far as it can be served: a refused version leaves its predecessor of that name.

        Without its default version the model stays as it was; None where it was not there.
        """
        before = loaded.get(name)
        found: dict[str, Served] = {}
        for version in sorted(wanted.versions):
            known = before.versions.get(version) if before else None
            served: Served | None
            try:
                served = self._version(name, version, wanted, trust, known)
                _check_routes(name, served, loaded)
                if before is not None and (served is not known or _newly_routed(version, wanted, before)):
                    _check_older(served, before.default, wanted)
            except FlightlineError as error:
                refused[f"{name}@{version}"] = str(error)
                served = known
            except Exception as error:
                # Whatever a strange release does to the verifier, the watching thread and the others live on.
                logger.exception("loading %s version %s failed", name, version)
                refused[f"{name}@{version}"] = (
                    f"{name} failed to load ({type(error).__name__}: {error}); see the service's log."
                )
                served = known
            if served is not None:
                found[version] = served
        if f"{name}@{wanted.default}" in refused:
            return before
        return ServedModel(
            default=found[wanted.default],
            versions=MappingProxyType(found),
            split=bounds(_without(wanted.split, name, refused), wanted.default, found),
            mirror=tuple(
                (share, found[version])
                for version, share in sorted(_without(wanted.mirror, name, refused).items())
                if share > 0
            ),
        )

    def _version(
        self, name: str, version: str, wanted: DesiredModel, trust: Trust, known: Served | None
    ) -> Served:
        """`known` if it is what is wanted; else the release, loaded, verified and warmed."""
        desired = wanted.versions[version]
        if known is not None and known.desired == desired:
            return known
        predictor = _load(name, version, desired, trust, self._settings.onnx_threads)
        return Served(predictor=predictor, desired=desired, loaded_at=datetime.now(UTC))


def _load(name: str, version: str, desired: DesiredVersion, trust: Trust, threads: int) -> Predictor:
    predictor = Predictor.load(Path(desired.release), desired.digest, version, trust, threads=threads)
    if predictor.contract.model != name:
        raise FlightlineError(
            f"the release desired as '{name}' holds '{predictor.contract.model}'",
            f"a bundle of {name}",
            "Correct the desired state",
        )
    return predictor


def _newly_routed(version: str, wanted: DesiredModel, before: ServedModel) -> bool:
    """Whether callers who name no version may now come to `version`, and could not before."""
    routed = {before.default.version, *(served.version for _, served in before.split)}
    return version in wanted.routed() and version not in routed


def _check_older(served: Served, measure: Served, wanted: DesiredModel) -> None:
    if wanted.older_contract or served is measure:
        return
    problem = narrower(served.predictor.contract, measure.predictor.contract)
    if problem:
        raise BundleError(
            f"version {served.version} has an older contract than version {measure.version}, which answers: "
            f"it {problem}",
            "a contract that accepts all that callers may send now",
            "Train it with the present contract, or allow the older one once callers know",
        )


def _check_routes(name: str, served: Served, loaded: Mapping[str, ServedModel]) -> None:
    for route in served.predictor.contract.routes:
        holder = next((other for other in loaded if other != name and route in _claims(loaded[other])), "")
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


def _routes(model: ServedModel) -> set[str]:
    """Where a model answers: what its default claims."""
    return set(model.default.predictor.contract.routes)


def _claims(model: ServedModel) -> set[str]:
    """What no other model may have: each of its versions can become the default."""
    return {route for served in model.versions.values() for route in served.predictor.contract.routes}


def _without(shares: Mapping[str, float], name: str, refused: Mapping[str, str]) -> dict[str, float]:
    return {version: share for version, share in shares.items() if f"{name}@{version}" not in refused}


def _ack(snapshot: Snapshot, worker: str) -> Ack:
    return Ack(
        generation=snapshot.generation,
        worker=worker,
        served={name: served.predictor.bundle.digest for name, served in snapshot.models.items()},
        refused=dict(snapshot.refused),
        versions={
            name: {version: served.predictor.bundle.digest for version, served in model.versions.items()}
            for name, model in snapshot.loaded.items()
        },
    )
