"""What a service should run and what each worker made of it: two small files in the state folder.

`desired.json` is written by whoever deploys; `acks/WORKER.json` by each worker once it has acted on it.
"""

import os
import tempfile
from pathlib import Path

import msgspec

from contract.errors import ConfigError
from contract.strict import decode_json, encode_json

DESIRED = "desired.json"
ACKS = "acks"


class DesiredModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One version of one model: where its release lies and which bundle it must be."""

    version: str
    release: str  # absolute path of the release directory
    digest: str  # hex sha256 of the bundle's manifest


class Desired(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything a service should run; a higher generation supersedes a lower one."""

    generation: int
    default: str  # the model that answers when a request names none; empty without models
    models: dict[str, DesiredModel]

    def __post_init__(self) -> None:
        """Refuse a state nobody can converge on.

        Raises:
            ConfigError: the default is not among the models, or a release is not an absolute path.
        """
        if self.default not in self.models and (self.models or self.default):
            raise ConfigError(
                f"the desired state's default is '{self.default}'",
                f"one of its models ({', '.join(sorted(self.models)) or 'none'})",
                "Correct the default",
            )
        for name, model in self.models.items():
            if not Path(model.release).is_absolute():
                raise ConfigError(
                    f"the release of '{name}' is '{model.release}'", "an absolute path", "Write it in full"
                )


class Ack(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one worker serves after having acted on a generation, and what it refused, with the sentence."""

    generation: int
    worker: str
    served: dict[str, str]  # model to digest: what answers now, a refused model's predecessor included
    refused: dict[str, str]  # model to sentence


def write_desired(folder: Path, desired: Desired) -> None:
    """Replace the desired state in `folder` at once and durably: a reader sees the old one or the new one."""
    _replace(folder / DESIRED, encode_json(desired))


def read_desired(folder: Path) -> Desired | None:
    """The desired state in `folder`, or None when nothing was ever desired.

    Raises:
        ConfigError: the file is not a desired state.
    """
    data = _read(folder / DESIRED)
    return None if data is None else decode_json(data, Desired, DESIRED)


def write_ack(folder: Path, ack: Ack) -> None:
    """Write what the worker `ack.worker` has come to."""
    _replace(folder / ACKS / f"{ack.worker}.json", encode_json(ack))


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


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _replace(path: Path, data: bytes) -> None:
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
