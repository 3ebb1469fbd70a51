"""Where a service learns what to serve: the desired-state file, or one release that it was started with."""

from pathlib import Path

from contract.attestation import read_trust
from contract.errors import ConfigError
from contract.release import open_release
from serving.loader import fetch_named
from serving.models.desired import DESIRED, Desired, DesiredModel, read_desired
from serving.settings import Settings

FETCHED = "fetched"
SHORT = 12  # hex digits of a digest that tell two bundles apart to a reader

Identity = tuple[int, int, int]


class Source:
    """The desired state of a service, and whether it may have changed since it was last read."""

    def __init__(self, settings: Settings) -> None:
        """Keep where to look."""
        self._settings = settings
        self._pinned: Desired | None = None

    def identity(self) -> object:
        """What differs between two states; None where nothing is desired yet."""
        if self._settings.pinned:
            return "pinned"
        return _identity(self._settings.state / DESIRED)

    def read(self) -> Desired | None:
        """The desired state, or None where there is none yet.

        Raises:
            FlightlineError: it cannot be read, or the release cannot be fetched or trusted.
        """
        if not self._settings.pinned:
            return read_desired(self._settings.state)
        if self._pinned is None:
            self._pinned = _pin(self._settings)
        return self._pinned


def _pin(settings: Settings) -> Desired:
    """The state that serves the one release: a baked-in one where it lies, any other once it is fetched."""
    if (settings.state / DESIRED).exists():
        raise ConfigError(
            f"{settings.pinned} names a release, and there is a {DESIRED}",
            "one of the two",
            f"Unset {settings.pinned}, or remove {settings.state / DESIRED}",
        )
    trust = read_trust(settings.trust)
    release = settings.bundle or fetch_named(
        settings.model_uri, settings.state / FETCHED, trust, settings.model_digest or None
    )
    bundle = open_release(release, settings.model_digest or None, trust)
    version = settings.model_version or bundle.digest[:SHORT]
    model = DesiredModel.of(version, str(release), bundle.digest)
    return Desired(generation=1, default=bundle.model, models={bundle.model: model})


def _identity(path: Path) -> Identity | None:
    """What differs between two versions of an atomically replaced file; None where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
