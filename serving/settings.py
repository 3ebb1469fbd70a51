"""What a service must be told: variables of its environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

from contract.errors import ConfigError
from contract.strict import near_miss

Clock = Literal["wall", "request"]


@dataclass(frozen=True)
class Settings:
    """Folders and the clock of one service."""

    state: Path  # holds desired.json and acks/
    trust: Path  # JSON of contract.attestation.Trust
    predictions: Path  # the prediction log, one folder per model
    clock: Clock  # `request`: a caller may say when a prediction happens, as replays must
    grpc_port: int | None = None  # None: no gRPC
    grpc_host: str = "127.0.0.1"
    otlp_endpoint: str = ""  # of an OpenTelemetry collector, such as http://127.0.0.1:4318; empty: no spans

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "Settings":
        """Read the FLIGHTLINE_* variables; only FLIGHTLINE_STATE and FLIGHTLINE_TRUST must be there.

        Raises:
            ConfigError: the state or the trust list is not named, or the clock, a port or a URL is none.
        """
        values = os.environ if environment is None else environment
        for name in ("FLIGHTLINE_STATE", "FLIGHTLINE_TRUST"):
            if not values.get(name):
                raise ConfigError(f"{name} is not set", "a path", f"Set {name} in the service's environment")
        clock = values.get("FLIGHTLINE_CLOCK", "wall")
        if clock not in get_args(Clock):
            hint = near_miss(clock, list(get_args(Clock)))
            raise ConfigError(f"FLIGHTLINE_CLOCK is '{clock}'{hint}", "'wall' or 'request'", "Correct it")
        state = Path(values["FLIGHTLINE_STATE"]).absolute()
        return cls(
            state=state,
            trust=Path(values["FLIGHTLINE_TRUST"]).absolute(),
            predictions=Path(values.get("FLIGHTLINE_PREDICTIONS") or state / "predictions").absolute(),
            clock=cast("Clock", clock),
            grpc_port=_port(values, "FLIGHTLINE_GRPC_PORT"),
            grpc_host=values.get("FLIGHTLINE_GRPC_HOST") or "127.0.0.1",
            otlp_endpoint=_url(values, "FLIGHTLINE_OTLP_ENDPOINT"),
        )


def _port(values: Mapping[str, str], name: str) -> int | None:
    """A port, or None where `name` is unset, empty or `off`."""
    text = values.get(name, "")
    if text in {"", "off"}:
        return None
    if not (text.isascii() and text.isdecimal()) or not 0 < int(text[:6]) < 2**16:
        raise ConfigError(f"{name} is '{text}'", "a port from 1 to 65535, or 'off'", "Correct it")
    return int(text)


def _url(values: Mapping[str, str], name: str) -> str:
    """An http(s) URL, or nothing where `name` is unset."""
    text = values.get(name, "")
    if text and not text.startswith(("http://", "https://")):
        raise ConfigError(f"{name} is '{text}'", "a URL such as http://127.0.0.1:4318", "Correct it")
    return text
