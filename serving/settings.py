"""What a service must be told: variables of its environment."""

import os
import re
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
    online_store: str = ""  # an address that serving.features.store.open_store takes
    online_cache_s: float = 1.0  # how long what was read from it is used again; 0: never

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "Settings":
        """Read FLIGHTLINE_STATE, _TRUST, _PREDICTIONS, _CLOCK, _ONLINE_STORE and _ONLINE_CACHE_S.

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
        cache = values.get("FLIGHTLINE_ONLINE_CACHE_S", "") or "1"
        if not re.fullmatch(r"\d{1,4}(\.\d{1,6})?", cache):
            raise ConfigError(
                f"FLIGHTLINE_ONLINE_CACHE_S is '{cache}'", "seconds, such as 0.5, or 0 for none", "Correct it"
            )
        return cls(
            state=state,
            trust=Path(values["FLIGHTLINE_TRUST"]).absolute(),
            predictions=Path(values.get("FLIGHTLINE_PREDICTIONS") or state / "predictions").absolute(),
            clock=cast("Clock", clock),
            online_store=values.get("FLIGHTLINE_ONLINE_STORE") or str(default_store(state)),
            online_cache_s=float(cache),
        )


def default_store(state: Path) -> Path:
    """The embedded online store of the service with this state folder: one file for all its workers."""
    return state / "online.db"
