"""How much the prediction log may hold back, and when what it wrote must be on the disk."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast, get_args

from contract.errors import ConfigError
from contract.strict import near_miss

# What is lost at most. Killed (kill -9): the rows that wait, up to `seconds` of them, whatever the policy.
# Power cut: always, the same; interval, up to `sync_seconds` more; never, what the kernel has not written
# yet, some 30 s on Linux, and a segment may be torn.
Sync = Literal["always", "interval", "never"]
MEGABYTE = 1024 * 1024


@dataclass(frozen=True)
class LogSettings:
    """Sizes and times of one process's prediction log."""

    sync: Sync = "always"
    sync_seconds: float = 5.0  # between two syncs, where sync is `interval`
    seconds: float = 1.0  # the longest that a row waits before its segment is written
    rows: int = 5_000  # rows of a segment that does not wait for that
    most_rows: int = 50_000  # waiting to be written; beyond it rows are dropped and counted
    most_bytes: int = 64 * MEGABYTE  # of memory, about; the same

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "LogSettings":
        """Read FLIGHTLINE_LOG_SYNC, _SYNC_SECONDS, _SECONDS, _ROWS, _MOST_ROWS and _MOST_MB.

        Raises:
            ConfigError: a policy is unknown, or a number is none or not positive.
        """
        values = os.environ if environment is None else environment
        sync = values.get("FLIGHTLINE_LOG_SYNC") or cls.sync
        if sync not in get_args(Sync):
            known = list(get_args(Sync))
            raise ConfigError(
                f"FLIGHTLINE_LOG_SYNC is '{sync}'{near_miss(sync, known)}", " or ".join(known), "Correct it"
            )
        return cls(
            sync=cast("Sync", sync),
            sync_seconds=_positive(values, "SYNC_SECONDS", cls.sync_seconds),
            seconds=_positive(values, "SECONDS", cls.seconds),
            rows=round(_positive(values, "ROWS", cls.rows)) or 1,
            most_rows=round(_positive(values, "MOST_ROWS", cls.most_rows)) or 1,
            most_bytes=round(_positive(values, "MOST_MB", cls.most_bytes / MEGABYTE) * MEGABYTE),
        )


def _positive(values: Mapping[str, str], name: str, default: float) -> float:
    text = values.get(f"FLIGHTLINE_LOG_{name}") or str(default)
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 < number < 1e12:  # noqa: PLR2004 - NaN and infinity fail this, too
        raise ConfigError(f"FLIGHTLINE_LOG_{name} is '{text}'", "a number above 0", "Correct it")
    return number
