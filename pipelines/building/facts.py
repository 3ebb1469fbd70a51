"""What the split tells of itself; apart from it, so that who reads this loads no feature engine."""

from datetime import datetime
from typing import Literal

import msgspec

PARTS = ("train", "validation", "test")


class Facts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What later stages and the bundle need to know about the split."""

    kind: Literal["time", "random"]  # rows of a random split have no days of their own
    rows: dict[str, int]
    unlabelled: int  # examples whose label had not arrived, or never will (cancelled, diverted)
    fit_until: datetime
    test_from: datetime
    test_until: datetime
    data: str  # sha256 over the three tables
    held_out: str  # sha256 of the test table
