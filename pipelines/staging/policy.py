"""What staging asks of a version: the key `staging` of policy.yaml, read strictly."""

from typing import Annotated

import msgspec

from pipelines.building.config import policy
from training import model as models

_Share = Annotated[float, msgspec.Meta(ge=0, lt=1)]
_Factor = Annotated[float, msgspec.Meta(gt=0)]


class LoadPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a version is loaded, and what it must stand.

    Throughput and latency are ratios to a bare echo that is measured in turn with the service, on the same
    machine and by the same generator: figures of their own would say more of the machine than of the version.
    """

    seconds: Annotated[float, msgspec.Meta(ge=0.5, le=30)]  # of load on the service, in all
    connections: Annotated[int, msgspec.Meta(ge=1, le=256)]  # requests at a time
    requests: Annotated[int, msgspec.Meta(ge=100, le=1_000_000)]  # at most, in all
    min_throughput: _Factor  # requests a second: times the echo's
    max_p99: _Factor  # the time that 99 of 100 requests take at most: times the echo's
    max_errors: _Share  # of the requests: another status than 200, no answer, or another answer


class VerificationPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much of the past is scored over HTTP and by the batch scorer, to compare the answers."""

    rows: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]  # at most; evenly spaced where there are more


class StagingPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a version of one model must pass in staging, beside what every model must."""

    load: LoadPolicy
    verification: VerificationPolicy


# For a model of the registry that this checkout does not declare, and whose policy is not here: no more than
# that it answers without an error.
UNDECLARED = StagingPolicy(LoadPolicy(0.5, 4, 2_000, 0.01, 200.0, 0.0), VerificationPolicy(10_000))


def staging_policy(model: str) -> StagingPolicy:
    """What policy.yaml asks of `model` in staging.

    Raises:
        ConfigError: it says nothing or something unknown about a model that this checkout declares.
    """
    return policy(model, "staging", StagingPolicy) if model in models.names() else UNDECLARED
