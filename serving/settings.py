"""What a service must be told: five variables of its environment."""

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
    scores: Path  # precomputed answers that can be looked up, one file per model
    clock: Clock  # `request`: a caller may say when a prediction happens, as replays must

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "Settings":
        """Read FLIGHTLINE_STATE, _TRUST, _PREDICTIONS, _SCORES and _CLOCK.

        Raises:
            ConfigError: the state or the trust list is not named, or the clock is unknown.
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
            scores=Path(values.get("FLIGHTLINE_SCORES") or state / "scores").absolute(),
            clock=cast("Clock", clock),
        )
