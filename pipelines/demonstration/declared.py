"""The trials that the demonstration makes, as data: `infra/demo.yaml`, read before anything runs."""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import msgspec

from contract.errors import ConfigError
from contract.strict import convert, near_miss
from pipelines.building.config import PARAMS, read_yaml, section, typed

DECLARED = Path("infra") / "demo.yaml"


class Trial(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A change of parameters against params.yaml (`train.max_iter`: 1), and why somebody tries it."""

    changes: dict[str, Any]
    reason: str

    def __str__(self) -> str:
        """`train.max_iter 1 (one tree is no model)`."""
        return f"{', '.join(f'{key} {value}' for key, value in self.changes.items())} ({self.reason})"


class Declared(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is tried: one candidate that is to earn its promotion, one model that is to fail."""

    candidate: Trial
    broken: Trial


def read_declared(model: str, path: Path = DECLARED, params: Path = PARAMS) -> Declared:
    """The trials on `model`, each found to change something that its parameters have.

    Raises:
        ConfigError: the file cannot be read, says something unknown, or a trial changes nothing.
    """
    declared = convert(read_yaml(path), Declared, str(path))
    plain = section(model, params)
    for name in Declared.__struct_fields__:
        trial: Trial = getattr(declared, name)
        where = f"{path}, {name}"
        if not trial.reason.strip():
            raise ConfigError(f"{where}: the reason is empty", "why somebody would try it", "Say why")
        tried = _changed(plain, trial.changes, where)
        if typed(model, tried, where) == typed(model, plain, str(params)):
            raise ConfigError(
                f"{where} changes nothing of {params}", "another value than it has", f"Correct it in {path}"
            )
    return declared


def _changed(plain: Mapping[str, Any], changes: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A copy of a model's parameters with dotted keys set, all of which it has."""
    result = deepcopy(dict(plain))
    known = [f"{stage}.{key}" for stage, keys in result.items() if isinstance(keys, dict) for key in keys]
    for dotted, value in changes.items():
        if dotted not in known:
            raise ConfigError(
                f"{where}: unknown parameter '{dotted}'{near_miss(dotted, known)}",
                "keys of params.yaml such as train.seed" if not known else f"one of {', '.join(known)}",
                "Correct it there",
            )
        stage, _, key = dotted.partition(".")
        result[stage][key] = value
    return result
