"""MLflow's tracking and registry as the few operations that Flightline needs, with sentences for errors.

The client is imported when a connection is opened: it takes seconds, and a server that is down is found
out before.
"""

import os
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contract.errors import FlightlineError
from contract.strict import near_miss
from pipelines.cli import NO_ROOM
from pipelines.delivery.tracking_server import NoAnswerError, require_up
from pipelines.machine.settings import Settings
from training.model import names

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHALLENGER, STAGING, CHAMPION = "challenger", "staging", "champion"
DIGEST = "digest"  # tag of runs and versions: the bundle's digest
STAGING_EVIDENCE = "staging.evidence"  # tag of a version: the signed envelope
REFUSED = "promotion.refused"  # tag of a version: why it was not promoted
# MLflow's answers that another try does not change; after any other error nothing is known.
DENIALS = frozenset({"RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS", "INVALID_PARAMETER_VALUE"})
BUNDLE, ATTESTATIONS = "bundle", "attestations"  # folders of a run's artifacts, and of a release
# Characters of an error. What MLflow or its guard says is read whole; of a proxy's page, the beginning.
SENTENCE, PAGE = 5_000, 200
PIECE = 2**20  # bytes


@dataclass(frozen=True)
class Version:
    """One registered version of a model."""

    model: str
    version: str
    digest: str
    run_id: str
    tags: Mapping[str, str]
    aliases: tuple[str, ...]
    description: str = ""


class Registry:
    """An open connection. Every operation raises FlightlineError instead of MLflow's own errors.

    NoAnswerError, a kind of it, says that trying again later may help.
    """

    def __init__(self, client: "MlflowClient", address: str) -> None:
        """Wrap a `client` that talks to the server at `address`."""
        self.client = client
        self._address = address

    @contextmanager
    def explained(self, doing: str) -> Iterator[None]:
        """Turn what MLflow raises inside the block into one sentence about `doing`."""
        from mlflow.exceptions import MlflowException, RestException
        from requests.exceptions import RequestException

        try:
            yield
        except (MlflowException, RequestException, OSError) as error:
            if isinstance(error, OSError) and error.errno in NO_ROOM:
                raise _no_room(doing, error.filename or "a file") from error
            longest = SENTENCE if isinstance(error, RestException) else PAGE
            detail = " ".join(str(error).split())[:longest]
            denied = getattr(error, "error_code", "") in DENIALS
            raise (FlightlineError if denied else NoAnswerError)(
                f"{doing} failed: {detail}", f"MLflow at {self._address} to do it", "Run this again"
            ) from error

    def models(self) -> list[str]:
        """The names of all registered models."""
        with self.explained("listing the registered models"):
            return sorted(model.name for model in self.client.search_registered_models(max_results=1000))

    def versions(self, model: str) -> list[Version]:
        """All versions of `model`, newest first, without their aliases."""
        with self.explained(f"listing the versions of {model}"):
            found = self.client.search_model_versions(f"name = '{model}'", max_results=10_000)
        return sorted((_version(item) for item in found), key=lambda item: -int(item.version))

    def by_digest(self, model: str, digest: str) -> Version | None:
        """The version that holds the bundle `digest`, or None."""
        with self.explained(f"looking for the bundle {digest[:12]}"):
            found = self.client.search_model_versions(f"name = '{model}' and tags.{DIGEST} = '{digest}'")
        return self.by_number(model, found[0].version) if found else None

    def by_number(self, model: str, version: str) -> Version:
        """Version `version` of `model`.

        Raises:
            FlightlineError: there is none.
        """
        known = [item.version for item in self.versions(model)]
        if version not in known:
            others = [] if known else sorted({*self.models(), *names()} - {model})
            raise FlightlineError(
                f"{model} has no version {version}{near_miss(model, others)}",
                f"one of {', '.join(known)}" if known else "a registered version",
                "Name one of them" if known else f"Run `python -m pipelines.register {model}` first",
            )
        with self.explained(f"reading version {version} of {model}"):
            return _version(self.client.get_model_version(model, version))

    def aliases(self, model: str) -> dict[str, str]:
        """Alias to version; empty for a model that is not registered."""
        if model not in self.models():
            return {}
        with self.explained(f"reading the aliases of {model}"):
            aliases = self.client.get_registered_model(model).aliases
        return {str(name): str(version) for name, version in aliases.items()}

    def by_alias(self, model: str, alias: str) -> Version:
        """The version of `model` that holds `alias`.

        Raises:
            FlightlineError: none does.
        """
        version = self.aliases(model).get(alias)
        if version is None:
            others = {*self.models(), *names()}
            hint = "" if model in others else near_miss(model, sorted(others))
            raise FlightlineError(
                f"no version of {model} has the alias '{alias}'{hint}",
                "one that has",
                _how_to_get(alias, model),
            )
        return self.by_number(model, version)

    def set_alias(self, model: str, alias: str, version: str) -> None:
        """Move `alias` to `version`, wherever it was."""
        with self.explained(f"moving the alias '{alias}' of {model}"):
            self.client.set_registered_model_alias(model, alias, version)

    def swap_alias(self, model: str, alias: str, version: str, instead_of: Collection[str]) -> str | None:
        """Move `alias` to `version` if it is missing or on one of `instead_of`.

        Returns the version that has it otherwise, which a person chose. MLflow cannot compare and set in one
        step: our own commands hold a lock, and a click within the milliseconds between is not seen.
        """
        found = self.aliases(model).get(alias)
        if found not in {None, version, *instead_of}:
            return found
        if found != version:
            self.set_alias(model, alias, version)
        return None

    def tag(self, version: Version, key: str, value: str) -> None:
        """Write a tag on a version, where a person sees it."""
        with self.explained(f"writing tag {key} of {version.model} version {version.version}"):
            self.client.set_model_version_tag(version.model, version.version, key, value)

    def tag_run(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Write tags on a run, all in one request."""
        from mlflow.entities import RunTag

        with self.explained(f"writing tags of run {run_id}"):
            self.client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])

    def run_of(self, model: str, digest: str) -> str | None:
        """The id of the run that tracks the bundle `digest`, or None."""
        with self.explained(f"looking for the run of the bundle {digest[:12]}"):
            experiment = self.client.get_experiment_by_name(model)
            if experiment is None:
                return None
            where = [experiment.experiment_id]
            runs = self.client.search_runs(where, f"tags.{DIGEST} = '{digest}'", max_results=1)
        return str(runs[0].info.run_id) if runs else None

    def describe(self, version: Version, description: str) -> None:
        """Replace what a person reads about a version."""
        with self.explained(f"describing {version.model} version {version.version}"):
            self.client.update_model_version(version.model, version.version, description)

    def untag(self, version: Version, key: str) -> None:
        """Take a tag away, if it is there."""
        if key in version.tags:
            with self.explained(f"removing tag {key} of {version.model} version {version.version}"):
                self.client.delete_model_version_tag(version.model, version.version, key)

    def create(self, model: str, run_id: str, description: str, tags: Mapping[str, str]) -> Version:
        """Register the bundle of a run as a new version, complete in one step."""
        from mlflow.exceptions import RestException

        with self.explained(f"registering {model}"):
            try:
                self.client.create_registered_model(model)
            except RestException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            source = f"{self.client.get_run(run_id).info.artifact_uri}/{BUNDLE}"
            made = self.client.create_model_version(
                model, source, run_id=run_id, tags=dict(tags), description=description, await_creation_for=0
            )
        return _version(made)

    def upload(self, run_id: str, folder: Path, name: str) -> None:
        """Store the files of `folder` as the run's artifact folder `name`."""
        with self.explained(f"storing {name}"):
            self.client.log_artifacts(run_id, str(folder), name)

    def download(self, run_id: str, name: str, into: Path) -> Path:
        """Fetch the artifact folder `name` of a run to `into/name`."""
        doing = f"fetching {name} of run {run_id}"
        try:
            with self.explained(doing):
                return Path(self.client.download_artifacts(run_id, name, str(into)))
        except FlightlineError:
            # MLflow's client keeps to itself what the disk said.
            if not self._room(run_id, name, into):
                raise _no_room(doing, into.parent) from None
            raise

    def _room(self, run_id: str, name: str, into: Path) -> bool:
        """Whether `into` takes a file as large as all of the artifact folder."""
        with self.explained(f"listing {name} of run {run_id}"):
            needed = sum(item.file_size or 0 for item in self.client.list_artifacts(run_id, name))
        try:
            with tempfile.TemporaryFile(dir=into, buffering=0) as file:
                for done in range(0, needed, PIECE):
                    file.write(bytes(min(PIECE, needed - done)))
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            return False
        return True


def connect(settings: Settings) -> Registry:
    """A connection to MLflow.

    Raises:
        NoAnswerError: it does not; found out within seconds.
    """
    require_up(settings)
    return open_registry(settings)


def open_registry(settings: Settings) -> Registry:
    """A connection to a server that is known to be up, such as the one that this process is."""
    if settings.owns_tracking:
        for name in ("NO_PROXY", "no_proxy"):  # the client's requests would go through a proxy even to us
            known = os.environ.get(name, "")
            if "127.0.0.1" not in known.split(","):
                os.environ[name] = f"{known},127.0.0.1".lstrip(",")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # The client's own defaults retry for minutes. Uploads go file by file, so ten seconds is plenty.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # `--json` is ours alone
    from mlflow import MlflowClient

    return Registry(
        MlflowClient(tracking_uri=settings.tracking_uri, registry_uri=settings.tracking_uri),
        settings.tracking_uri,
    )


def _no_room(doing: str, place: str | Path) -> FlightlineError:
    return FlightlineError(
        f"{doing} failed: the disk of this machine has no room for {place}",
        "a disk that takes what is fetched",
        "Make room and run this again",
    )


def _version(found: Any) -> Version:
    return Version(
        model=found.name,
        version=str(found.version),
        digest=found.tags.get(DIGEST, ""),
        run_id=found.run_id or "",
        tags=dict(found.tags),
        aliases=tuple(found.aliases),
        description=found.description or "",
    )


def _how_to_get(alias: str, model: str) -> str:
    steps = {
        CHALLENGER: f"Run `python -m pipelines.register {model}`",
        STAGING: f"Run `python -m pipelines.deploy staging {model}`",
        CHAMPION: f"Run `python -m pipelines.promote {model}`",
    }
    return steps.get(alias, "Set it in MLflow")
