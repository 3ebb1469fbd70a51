"""params.yaml and policy.yaml as typed values; an unknown key is refused by name."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import yaml

from contract.errors import ConfigError
from contract.strict import convert, near_miss
from training import model as models
from training.splitting import SplitParams

T = TypeVar("T")

PARAMS, POLICY = Path("params.yaml"), Path("policy.yaml")
POLICY_PARTS = ("gates", "monitoring")


class IngestParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Source tables: files of an installed distribution, so that data has a version and a hash."""

    distribution: str
    version: str
    files: dict[str, str]  # table name -> path inside the distribution (.csv or .csv.zip)


class AblateParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much the measurement of feature groups may cost."""

    rows: Annotated[int, msgspec.Meta(ge=1)]  # training rows, evenly spaced; all where there are fewer


class ModelParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model's section of params.yaml. `train` is of the type that the model declares."""

    as_of: datetime
    seed: int
    ingest: IngestParams
    split: SplitParams
    train: Any
    ablate: AblateParams


def params(model: str, path: Path = PARAMS) -> ModelParams:
    """The typed section of `model`.

    Raises:
        ConfigError: the file is missing or corrupt, or the section is missing or says something unknown.
    """
    found = convert(_section(model, path), ModelParams, f"{path}, {model}")
    if found.as_of.tzinfo is None:
        raise ConfigError(
            f"{path}, {model}: as_of {found.as_of} has no time zone",
            "a moment in UTC",
            "Write it as 2013-04-01T00:00:00Z",
        )
    train = convert(found.train, models.load(model).params, f"{path}, {model}.train")
    return msgspec.structs.replace(found, train=train, as_of=found.as_of.astimezone(UTC))


def policy(model: str, key: str, into: type[T], path: Path = POLICY) -> T:
    """The part `key` (gates or monitoring) of the model's policy, as the type its reader declares.

    Raises:
        ConfigError: the file is missing or corrupt, or the part is missing or says something unknown.
    """
    parts = _section(model, path)
    unknown = sorted(set(parts) - set(POLICY_PARTS))
    if unknown:
        raise ConfigError(
            f"{path}, {model}: unknown key '{unknown[0]}'{near_miss(unknown[0], list(POLICY_PARTS))}",
            f"only {', '.join(POLICY_PARTS)}",
            f"Correct or remove it in {path}",
        )
    if key not in parts:
        raise ConfigError(
            f"{path}, {model}: key '{key}' is missing", f"a section '{key}'", f"Add it to {path}"
        )
    return convert(parts[key], into, f"{path}, {model}.{key}")


def section(model: str, path: Path = PARAMS) -> dict[str, Any]:
    """The plain section of `model`, for hashing and for showing."""
    return dict(_section(model, path))


def _section(model: str, path: Path) -> dict[str, Any]:
    models.load(model)
    everything = read_yaml(path)
    unknown = sorted(set(everything) - set(models.names()))
    if unknown:
        raise ConfigError(
            f"{path}: unknown model '{unknown[0]}'{near_miss(unknown[0], models.names())}",
            f"sections named {', '.join(models.names())}",
            f"Correct it in {path} or add training/models/{unknown[0]}.py",
        )
    if model not in everything:
        raise ConfigError(f"{path} has no section '{model}'", "one section a model", f"Add it to {path}")
    return _mapping(everything[model], f"{path}, {model}", f"Correct it in {path}")


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping.

    Raises:
        ConfigError: the file cannot be read or is not a mapping.
    """
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read ({error.strerror})", "a YAML file", "Run from the repository's top folder"
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path} is not UTF-8 at byte {error.start}",
            "a text file",
            f"Correct it, or restore it: git checkout {path}",
        ) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}" if mark else ""
        raise ConfigError(
            f"{path} is not YAML{place}", "a YAML mapping", f"Correct it, or restore it: git checkout {path}"
        ) from None
    return _mapping(content, str(path), f"Restore it: git checkout {path}")


def _mapping(content: object, where: str, remedy: str) -> dict[str, Any]:
    if not isinstance(content, dict):
        found = "nothing" if content is None else f"a {type(content).__name__}"
        raise ConfigError(f"{where} holds {found}", "a YAML mapping", remedy)
    odd = next((key for key in content if not isinstance(key, str)), None)
    if odd is not None:
        raise ConfigError(f"{where} has the key {odd!r}, a {type(odd).__name__}", "names as keys", remedy)
    return dict(content)
