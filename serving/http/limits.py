"""How much a worker takes at once, and how long it lingers at its end: four variables of its environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from contract.errors import ConfigError


@dataclass(frozen=True)
class Limits:
    """What is refused with 503 rather than answered late.

    A row takes a worker some 50 µs: 128 requests are about 6 ms of work, twice what the 64 callers of a busy
    service keep it at, and 4,000 rows of batches are about 20 ms. More only makes everybody wait longer.
    """

    requests: int = 128  # whose body has arrived and whose answer has not left
    rows: int = 4_000  # of batches too long for the event loop
    receive_seconds: float = 10.0  # for a whole request to arrive; 4 MiB in that time need 3.4 Mbit/s
    drain_seconds: float = 0.5  # between the 503 of /readyz and the end of accepting, after SIGTERM

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "Limits":
        """Read FLIGHTLINE_REQUESTS, FLIGHTLINE_ROWS, FLIGHTLINE_RECEIVE_SECONDS and FLIGHTLINE_DRAIN_SECONDS.

        Raises:
            ConfigError: one of them is no number of its range.
        """
        values = os.environ if environment is None else environment
        return cls(
            requests=int(_number(values, "FLIGHTLINE_REQUESTS", cls.requests, 1, 100_000)),
            rows=int(_number(values, "FLIGHTLINE_ROWS", cls.rows, 1, 10_000_000)),
            receive_seconds=_number(values, "FLIGHTLINE_RECEIVE_SECONDS", cls.receive_seconds, 0.1, 3_600),
            drain_seconds=_number(values, "FLIGHTLINE_DRAIN_SECONDS", cls.drain_seconds, 0, 300),
        )


def _number(values: Mapping[str, str], name: str, default: float, low: float, high: float) -> float:
    text = values.get(name) or str(default)
    try:
        number = float(text) if isinstance(default, float) else int(text)
    except ValueError:
        number = -1
    if not low <= number <= high:  # NaN fails, too
        kind = "seconds" if isinstance(default, float) else "a whole number"
        raise ConfigError(f"{name} is '{text[:40]}'", f"{kind} from {low} to {high}", "Correct it")
    return number
