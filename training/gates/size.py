"""G11: is the bundle small enough to ship, and to hold in a server's memory?"""

import math
from dataclasses import dataclass

from training.gates.policy import Size
from training.gates.verdict import Verdict, judge, number

MIB = 1024 * 1024


@dataclass(frozen=True)
class Footprint:
    """What a bundle takes, in bytes; `memory` is NaN where a server refuses it, and `refusal` says why."""

    bundle: int
    memory: float
    refusal: str = ""


def small_enough(found: Footprint, limits: Size) -> Verdict:
    """Bytes of the bundle and of a server's memory are within their limits; NaN is within none."""
    bundle, memory = found.bundle / MIB, found.memory / MIB
    problems = []
    if not bundle <= limits.bundle_mib:
        problems.append(f"the bundle has {number(bundle)} MiB, over {limits.bundle_mib}")
    if math.isnan(memory):
        problems.append(f"a server does not load it: {found.refusal or 'it did not say why'}")
    elif not memory <= limits.memory_mib:
        problems.append(f"a server takes {number(memory)} MiB to hold it, over {limits.memory_mib}")
    return judge(
        "G11",
        f"bundle {number(bundle)} MiB, memory {number(memory)} MiB",
        f"bundle <= {limits.bundle_mib} MiB, memory <= {limits.memory_mib} MiB",
        problems,
        "the bundle and the memory that a server needs for it are small enough",
    )
