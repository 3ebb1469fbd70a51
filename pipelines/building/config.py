"""params.yaml and policy.yaml as typed values; an unknown key is refused by name."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
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
POLICY_PARTS = ("gates", "monitoring", "staging", "rollout")


class IngestParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Source tables: files of an installed distribution, so that data has a version and a hash."""

    distribution: str
    version: str
    files: dict[str, str]  # table name -> path inside the distribution (.csv or .csv.zip)


class AblateParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much the measurement of feature groups may cost."""

    rows: Annotated[int, msgspec.Meta(ge=1)]  # training rows, evenly spaced; all where there are fewer


class Search(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a study looks for one hyperparameter: between two bounds, or among choices.

    Numbers are whole where the model's hyperparameter is an `int`.
    """

    low: float | None = None
    high: float | None = None
    log: bool = False  # equal steps of the logarithm
    choices: tuple[float | str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what names no values to try.

        Raises:
            ValueError: there are bounds and choices or neither, or the bounds are no range.
        """
        bounds = (self.low, self.high)
        if (None in bounds) is not bool(self.choices) or (self.choices and bounds != (None, None)):
            raise ValueError("either low and high, or choices, are needed")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError(f"low {self.low} is not below high {self.high}")
        if self.log and (self.low is None or self.low <= 0):
            raise ValueError("a logarithm needs a low above 0")


class TuneParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How `pipelines.tune` searches hyperparameters; nothing that is built depends on it."""

    space: dict[str, Search]  # hyperparameter of `train` -> where to look; the others stay as they are
    trials: Annotated[int, msgspec.Meta(ge=1)] = 25
    folds: Annotated[int, msgspec.Meta(ge=1)] = 1


class ModelParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model's section of params.yaml. `train` is of the type that the model declares."""

    as_of: datetime
    seed: int
    ingest: IngestParams
    split: SplitParams
    train: Any
    ablate: AblateParams
    tune: TuneParams | None = None


def params(model: str, path: Path = PARAMS) -> ModelParams:
    """The typed section of `model`.

    Raises:
        ConfigError: the file is missing or corrupt, or the section is missing or says something unknown.
    """
    return typed(model, _section(model, path), f"{path}, {model}")


def typed(model: str, plain: Mapping[str, Any], where: str) -> ModelParams:
    """The section `plain` of `model` as its type; `where` names its source in a refusal.

    Raises:
        ConfigError: it says something unknown, or lacks something.
    """
    day = plain.get("as_of")
    if isinstance(day, date) and not isinstance(day, datetime):  # YAML's own type, where it is not quoted
        raise _no_moment(where, f"{day} is a day without a time", f"{day}T00:00:00Z")
    found = convert(plain, ModelParams, where)
    if found.as_of.tzinfo is None:
        raise _no_moment(where, f"{found.as_of} has no time zone", f"{found.as_of:%Y-%m-%dT%H:%M:%SZ}")
    train = convert(found.train, models.load(model).params, f"{where}.train")
    known = list(models.load(model).params.__struct_fields__)
    for name in found.tune.space if found.tune else ():
        if name not in known:
            raise ConfigError(
                f"{where}.tune.space: unknown hyperparameter '{name}'{near_miss(name, known)}",
                f"some of {', '.join(known)}",
                "Correct or remove it",
            )
    return msgspec.structs.replace(found, train=train, as_of=found.as_of.astimezone(UTC))


def _no_moment(where: str, found: str, right: str) -> ConfigError:
    return ConfigError(
        f"{where}: as_of {found}", "a moment in UTC", f'Write it as "{right}", with the quotes'
    )


def policy(model: str, key: str, into: type[T], path: Path = POLICY) -> T:
    """The part `key` (one of POLICY_PARTS) of the model's policy, as the type its reader declares.

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
    """The plain section of `model`, for hashing and for showing, without what no build depends on."""
    return {key: value for key, value in _section(model, path).items() if key != "tune"}


def _section(model: str, path: Path) -> dict[str, Any]:
    models.load(model)
    everything = read_yaml(path)
    unknown = sorted(set(everything) - set(models.names()))
    if unknown:
        raise ConfigError(
            f"{path}: unknown model '{unknown[0]}'{near_miss(unknown[0], models.names())}",
            f"sections named {', '.join(models.names())}",
            f"Correct it in {path} or add training/models/{unknown[0]}/__init__.py",
        )
    if model not in everything:
        raise ConfigError(f"{path} has no section '{model}'", "one section a model", f"Add it to {path}")
    return _mapping(everything[model], f"{path}, {model}", f"Correct it in {path}")


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping.

    Raises:
        ConfigError: the file cannot be read, is not a mapping, or says something twice.
    """
    try:
        content = yaml.load(path.read_text("utf-8"), _Loader)  # noqa: S506 - a SafeLoader
    except _TwiceError as error:
        raise ConfigError(
            f"{path}: the key '{error.key}' at line {error.line} was there before",
            "every key once",
            f"Remove one of the two from {path}",
        ) from None
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


class _TwiceError(Exception):
    """A key that its mapping has already."""

    def __init__(self, key: object, line: int) -> None:
        super().__init__(key, line)
        self.key, self.line = key, line


class _Loader(yaml.SafeLoader):
    """YAML as it is meant: PyYAML itself lets the last of two equal keys win without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise _TwiceError(key.value, key.start_mark.line + 1)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _mapping(content: object, where: str, remedy: str) -> dict[str, Any]:
    if not isinstance(content, dict):
        found = "nothing" if content is None else f"a {type(content).__name__}"
        raise ConfigError(f"{where} holds {found}", "a YAML mapping", remedy)
    odd = next((key for key in content if not isinstance(key, str)), None)
    if odd is not None:
        raise ConfigError(f"{where} has the key {odd!r}, a {type(odd).__name__}", "names as keys", remedy)
    return dict(content)
