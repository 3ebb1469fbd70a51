"""Development, staging and production as data: `infra/environments.yaml`, read strictly."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from contract.errors import ConfigError
from contract.strict import convert, near_miss
from pipelines.building.config import read_yaml
from pipelines.machine.cluster import Backend, Cluster, read_backend, read_cluster, require_usable

Clock = Literal["wall", "request"]
CLOCKS: tuple[Clock, ...] = ("wall", "request")
PRODUCTION = "production"


class Smoke(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much latency a deployed version may have."""

    requests: Annotated[int, msgspec.Meta(ge=1)]  # one row each, one after another
    p90_ms: Annotated[float, msgspec.Meta(gt=0)]


class Environment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One place where models run: its port, whose clock counts, and the alias that says what runs."""

    port: int
    clock: Clock
    alias: str
    smoke: Smoke
    keep: Annotated[int, msgspec.Meta(ge=1, le=1_000)]  # versions before the live one whose releases stay
    backend: Backend
    cluster: Cluster | None = None  # where, for the backend `kubernetes`
    workers: Annotated[int, msgspec.Meta(ge=1, le=64)] = (
        1  # processes that share the port, of the backend `local`
    )

    def require_cluster(self, name: str) -> Cluster:
        """Its cluster, for the environment called `name`.

        Raises:
            ConfigError: there is none, or it is not told where it is.
        """
        return require_usable(name, self.cluster, self.clock)


class Environments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The three places there are."""

    development: Environment
    staging: Environment
    production: Environment


def read_environments(path: Path, variables: Mapping[str, str]) -> dict[str, Environment]:
    """The environments by name, with `FLIGHTLINE_<NAME>_PORT`, `_CLOCK`, `_BACKEND` and the like applied.

    `FLIGHTLINE_CLOCK` is a shorthand for development and staging. It never opens production: there a caller
    could date its predictions into any window that monitoring looks at, so that takes the variable by name.

    Raises:
        ConfigError: the file cannot be read, a key is unknown or there twice, or a variable is unusable.
    """
    declared = convert(read_yaml(path), Environments, path.name)
    shorthand = read_clock(variables, "FLIGHTLINE_CLOCK")
    found: dict[str, Environment] = {}
    for name in declared.__struct_fields__:
        environment: Environment = getattr(declared, name)
        port = read_port(variables, port_variable(name), environment.port)
        clock = read_clock(variables, f"FLIGHTLINE_{name.upper()}_CLOCK")
        if clock is None and name != PRODUCTION:
            clock = shorthand
        moved = msgspec.structs.replace(
            environment,
            port=port,
            clock=clock or environment.clock,
            backend=read_backend(variables, name, environment.backend),
            cluster=read_cluster(variables, name, environment.cluster),
        )
        if moved.backend == "kubernetes":
            moved.require_cluster(name)
        found[name] = moved
    return found


def port_variable(name: str) -> str:
    """The environment variable that moves the port of `name`."""
    return f"FLIGHTLINE_{name.upper()}_PORT"


def read_port(variables: Mapping[str, str], name: str, default: int) -> int:
    """The port in variable `name`, or `default`.

    Raises:
        ConfigError: it is not a port number.
    """
    text = variables.get(name, "") or str(default)
    last = 65535
    if not text.isdecimal() or not 0 < int(text) <= last:
        raise ConfigError(f"{name} is '{text}'", f"a port from 1 to {last}", f"Correct or unset {name}")
    return int(text)


def read_clock(variables: Mapping[str, str], name: str) -> Clock | None:
    """The clock that variable `name` asks for, or None.

    Raises:
        ConfigError: it is neither `wall` nor `request`.
    """
    text = variables.get(name, "")
    for clock in CLOCKS:
        if text == clock:
            return clock
    if text:
        hint = near_miss(text, list(CLOCKS))
        raise ConfigError(f"{name} is '{text}'{hint}", "wall or request", "Correct or unset it")
    return None
