"""How much a worker takes at once: two variables of its environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from contract.errors import ConfigError

MOST = 10_000_000


@dataclass(frozen=True)
class Limits:
    """What is refused with 503 rather than answered late.

    A request takes a worker some 30 to 50 µs: 128 are about 5 ms of work, twice what the 64 callers of a busy
    service keep it at, and 4,000 rows of batches are about 20 ms. More only makes everybody wait longer.
    """

    requests: int = 128  # whose body has arrived and whose answer has not left
    rows: int = 4_000  # of batches too long for the event loop

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "Limits":
        """Read FLIGHTLINE_REQUESTS and FLIGHTLINE_ROWS.

        Raises:
            ConfigError: one of them is no number of its range.
        """
        values = os.environ if environment is None else environment
        return cls(
            requests=_number(values, "FLIGHTLINE_REQUESTS", cls.requests),
            rows=_number(values, "FLIGHTLINE_ROWS", cls.rows),
        )


def _number(values: Mapping[str, str], name: str, default: int) -> int:
    text = values.get(name) or str(default)
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:20]) <= MOST:
        raise ConfigError(f"{name} is '{text[:40]}'", f"a whole number from 1 to {MOST:,}", "Correct it")
    return int(text)
