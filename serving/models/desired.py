"""What a service should run and what each worker made of it: small files in the state folder.

`desired.json` is written by whoever deploys and by the admin API; `acks/WORKER.json` by each worker once it
has acted on it.
"""

import math
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from contract.errors import ConfigError, FlightlineError
from contract.locks import exclusive
from contract.strict import decode_json, encode_json, near_miss

DESIRED = "desired.json"
LOCK = ".desired.lock"
ACKS = "acks"
ALL = 100.0  # percent
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # a version is a part of paths and of headers


class BusyError(FlightlineError):
    """Another change of the desired state is under way."""


class DesiredVersion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One version of a model: where its release lies and which bundle it must be."""

    release: str  # absolute path of the release directory
    digest: str  # hex sha256 of the bundle's manifest


class DesiredModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The versions of one model, and which of them answer."""

    default: str  # the version that answers where no split says otherwise
    versions: dict[str, DesiredVersion]
    split: dict[str, float] = {}  # percent of the requests that name no version; empty: all to the default
    # Percent of them that a version answers a second time, unseen by callers; of a version that the split has
    # answer a part, percent of the others' part.
    mirror: dict[str, float] = {}
    older_contract: bool = False  # a version may refuse what the served one accepts: a rollback wants that

    @classmethod
    def of(cls, version: str, release: str, digest: str, *, older_contract: bool = False) -> "DesiredModel":
        """The model with one version, which answers everything."""
        return cls(
            default=version,
            versions={version: DesiredVersion(release=release, digest=digest)},
            older_contract=older_contract,
        )

    @property
    def champion(self) -> DesiredVersion:
        """The default version."""
        return self.versions[self.default]

    @property
    def digest(self) -> str:
        """The bundle of the default version."""
        return self.champion.digest

    def routed(self) -> set[str]:
        """The versions that may answer a request which names none."""
        return {version for version, share in self.split.items() if share > 0} | {self.default}


class Desired(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything a service should run; a higher generation supersedes a lower one."""

    generation: int
    default: str  # the model that answers when a request names none; empty without models
    models: dict[str, DesiredModel]

    def __post_init__(self) -> None:
        """Refuse a state nobody can converge on.

        Raises:
            ConfigError: a default is not among its choices, a split does not add up, or a release is not an
                absolute path.
        """
        if self.default not in self.models and (self.models or self.default):
            raise ConfigError(
                f"the desired state's default is '{self.default}'",
                f"one of its models ({', '.join(sorted(self.models)) or 'none'})",
                "Correct the default",
            )
        for name, model in self.models.items():
            _check_model(name, model)


class Ack(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one worker serves after having acted on a generation, and what it refused, with the sentence."""

    generation: int
    worker: str
    served: dict[str, str]  # model to the digest of its default version, a refused one's predecessor included
    refused: dict[str, str]  # MODEL@VERSION to sentence
    versions: dict[str, dict[str, str]] = {}  # model to version to digest, of all that are loaded


def _check_model(name: str, model: DesiredModel) -> None:
    for version, wanted in model.versions.items():
        if VERSION.fullmatch(version) is None:
            raise ConfigError(
                f"a version of '{name}' is called '{version[:80]}'",
                "1 to 64 letters, digits, dots, dashes and underscores",
                "Rename it",
            )
        if not Path(wanted.release).is_absolute():
            raise ConfigError(
                f"the release of '{name}' is '{wanted.release}'", "an absolute path", "Write it in full"
            )
    _known(name, "the default", [model.default], model)
    _known(name, "the split", list(model.split), model)
    _known(name, "the mirror", list(model.mirror), model)
    _shares(name, "split", model.split)
    _shares(name, "mirror", model.mirror)
    total = math.fsum(model.split.values())
    if model.split and not math.isclose(total, ALL, abs_tol=1e-6):
        raise ConfigError(
            f"the split of '{name}' sums to {total:g} percent",
            "100, or no split at all",
            "Correct the shares",
        )
    whole = {version for version, share in model.split.items() if share == ALL} | {model.default}
    both = sorted(set(model.mirror) & whole)
    if both:
        raise ConfigError(
            f"version {both[0]} of '{name}' is mirrored to and answers as well",
            "a mirror of versions that do not answer, or only a part beside the default",
            "Take it out of the mirror, or out of the split",
        )


def _known(name: str, what: str, versions: list[str], model: DesiredModel) -> None:
    for version in versions:
        if version not in model.versions:
            known = sorted(model.versions)
            raise ConfigError(
                f"{what} of '{name}' names version '{version[:80]}'{near_miss(version[:80], known)}",
                f"a version that is loaded ({', '.join(known) or 'none'})",
                "Load it first, or correct the name",
            )


def _shares(name: str, what: str, shares: dict[str, float]) -> None:
    for version, share in shares.items():
        if not 0 <= share <= ALL:  # NaN fails every comparison, too
            raise ConfigError(
                f"the {what} of '{name}' gives version {version} {share:g} percent",
                "0 to 100",
                "Correct the share",
            )


def write_desired(folder: Path, desired: Desired) -> None:
    """Replace the desired state in `folder` at once and durably: a reader sees the old one or the new one."""
    replace_file(folder / DESIRED, encode_json(desired))


def read_desired(folder: Path) -> Desired | None:
    """The desired state in `folder`, or None when nothing was ever desired.

    Raises:
        ConfigError: the file is not a desired state, or one of a form that is no longer read.
    """
    data = _read(folder / DESIRED)
    if data is None:
        return None
    _refuse_old_form(data)
    return decode_json(data, Desired, DESIRED)


def change_desired(
    folder: Path, change: Callable[[Desired | None], Desired], wait_s: float = 60.0
) -> Desired:
    """Write what `change` makes of the present desired state, as the next generation, and return it.

    No other writer that comes this way can step in between.

    Raises:
        BusyError: another writer holds the lock for longer than `wait_s` seconds.
    """
    with desired_lock(folder, wait_s):
        return apply_change(folder, change)


def apply_change(folder: Path, change: Callable[[Desired | None], Desired]) -> Desired:
    """`change_desired`, for a caller that holds `desired_lock`."""
    before = read_desired(folder)
    wanted = change(before)
    after = msgspec.structs.replace(wanted, generation=(before.generation if before else 0) + 1)
    write_desired(folder, after)
    return after


@contextmanager
def desired_lock(folder: Path, wait_s: float) -> Iterator[None]:
    """Hold the right to write the desired state; the kernel takes it back when its holder ends.

    Raises:
        BusyError: another holds it for longer than `wait_s` seconds.
    """
    with exclusive(folder / LOCK, "change of the versions", wait_s, BusyError):
        yield


def write_ack(folder: Path, ack: Ack) -> None:
    """Write what the worker `ack.worker` has come to."""
    replace_file(folder / ACKS / f"{ack.worker}.json", encode_json(ack))


def read_acks(folder: Path) -> dict[str, Ack]:
    """The latest acknowledgement of every worker, by worker.

    Raises:
        ConfigError: a file is not an acknowledgement.
    """
    found: dict[str, Ack] = {}
    for path in sorted((folder / ACKS).glob("*.json")):
        data = _read(path)
        if data is not None:  # a worker may remove its own at any moment
            found[path.stem] = decode_json(data, Ack, path.name)
    return found


def remove_ack(folder: Path, worker: str) -> None:
    """Take back a worker's acknowledgement, when it stops."""
    (folder / ACKS / f"{worker}.json").unlink(missing_ok=True)


def remove_stale_acks(folder: Path) -> None:
    """Remove the acknowledgements of processes that are gone; a killed worker leaves its own behind."""
    for path in (folder / ACKS).glob("*.json"):
        if not path.stem.isdigit() or not _alive(int(path.stem)):
            path.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _refuse_old_form(data: bytes) -> None:
    """A model that is one version itself, as it was before a model had several."""
    try:
        value: Any = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return  # `decode_json` has the sentence
    models = value.get("models") if isinstance(value, dict) else None
    for name, model in models.items() if isinstance(models, dict) else ():
        if isinstance(model, dict) and "version" in model and "versions" not in model:
            raise ConfigError(
                f"{DESIRED} has the older form, in which '{name}' is one version",
                "`default` and `versions` for each model",
                f"Remove {DESIRED} and deploy again, or run `python -m pipelines.reconcile --once`",
            )


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def replace_file(path: Path, data: bytes) -> None:
    """Replace a file at once and durably."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:  # Ctrl-C too: no half-written file stays
        Path(temporary).unlink(missing_ok=True)
        raise
