"""What a version has to show before it takes over from the champion: a model's `rollout:` in policy.yaml."""

from itertools import pairwise
from typing import Annotated

import msgspec

from pipelines.building.config import POLICY, policy
from pipelines.machine.settings import Settings

# No limit may be one that everything fulfils, and no step one that nothing is seen in.
Percent = Annotated[float, msgspec.Meta(gt=0, le=100)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=86_400)]


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One step of a rollout, and the evidence that ends it."""

    percent: Percent  # shadow: of the requests, asked again of the version; canary: answered by it
    requests: Count  # shadow: rows compared; canary: requests answered. With fewer nothing is decided
    longest_s: Annotated[float, msgspec.Meta(gt=0, le=86_400)]  # then what is not decided is inconclusive
    least_s: Seconds = 0.0  # it lasts at least so long, however much is seen

    def __post_init__(self) -> None:
        """Refuse a step without time.

        Raises:
            ValueError: it would be over before it may end.
        """
        if self.least_s >= self.longest_s:
            raise ValueError(f"least_s {self.least_s:g} is not below longest_s {self.longest_s:g}")


class Rollout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The `rollout:` section of one model in `policy.yaml`."""

    shadow: Step
    canary: Annotated[
        tuple[Step, ...], msgspec.Meta(min_length=1)
    ]  # one after another, each with a larger part
    callers: Annotated[int, msgspec.Meta(ge=0)]  # of each step's requests so many are not the deployer's own
    probes: Annotated[int, msgspec.Meta(ge=0, le=100_000)]  # requests of the deployer's own a step, at most
    failed: Annotated[float, msgspec.Meta(ge=0, le=0.1)]  # share of good requests that it could not answer
    p99_ratio: Annotated[float, msgspec.Meta(ge=1, le=10)]  # its p99 latency over the champion's
    p99_floor_ms: Annotated[float, msgspec.Meta(gt=0, le=1_000)]  # a p99 up to this is never too slow
    disagreement: Annotated[float, msgspec.Meta(ge=0, lt=1)]  # share of rows that it labels differently

    def __post_init__(self) -> None:
        """Refuse steps that do not lead from none to all.

        Raises:
            ValueError: a canary does not grow, or is everything.
        """
        parts = [step.percent for step in self.canary]
        if any(after <= before for before, after in pairwise(parts)) or max(parts, default=0) >= 100:  # noqa: PLR2004 - percent
            raise ValueError(
                f"the canary's percentages {parts} do not grow towards 100, which comes after them"
            )


def read_rollout(model: str, settings: Settings) -> Rollout:
    """How `model` is rolled out.

    Raises:
        ConfigError: policy.yaml has no such section, or says something unknown.
    """
    return policy(model, "rollout", Rollout, settings.checkout / POLICY)
