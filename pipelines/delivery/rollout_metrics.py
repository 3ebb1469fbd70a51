"""What a service counts for each version of a model, read from its /metrics."""

import functools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import httpx

from contract.errors import FlightlineError
from pipelines.delivery.rollout_decision import Latencies
from pipelines.machine.tls import authorities
from serving.recording.tally import BUCKETS

TIMEOUT_S = 10.0
# A connection that somebody had accepted: unlike one that nobody takes, it says nothing about other workers.
CUT = (httpx.ReadError, httpx.WriteError, httpx.CloseError, httpx.RemoteProtocolError)

_LINE = re.compile(r"(?P<name>flightline_\w+)\{(?P<labels>.*)\} (?P<value>\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_BOUNDS = {bound: place for place, bound in enumerate((*BUCKETS, math.inf))}
_SECONDS, _SHADOW_SECONDS = "flightline_prediction_seconds_bucket", "flightline_shadow_seconds_bucket"


class RestartedError(FlightlineError):
    """The service counts from zero again: it is not the process that it was."""


@dataclass(frozen=True)
class Counted:
    """What was counted of one version, since its service started or since another moment."""

    failed: int = 0
    latencies: Latencies = field(default_factory=Latencies)
    agreed: int = 0
    differed: int = 0
    shadow_failed: int = 0
    runs: Latencies = field(default_factory=Latencies)  # of the version as a shadow

    def plus(self, other: "Counted") -> "Counted":
        """What two processes have counted."""
        return Counted(
            failed=self.failed + other.failed,
            latencies=_together(self.latencies, other.latencies),
            agreed=self.agreed + other.agreed,
            differed=self.differed + other.differed,
            shadow_failed=self.shadow_failed + other.shadow_failed,
            runs=_together(self.runs, other.runs),
        )

    def since(self, before: "Counted") -> "Counted":
        """What came after `before`.

        Raises:
            RestartedError: there is less than before.
        """
        return Counted(
            failed=_more(self.failed, before.failed),
            latencies=_later(self.latencies, before.latencies),
            agreed=_more(self.agreed, before.agreed),
            differed=_more(self.differed, before.differed),
            shadow_failed=_more(self.shadow_failed, before.shadow_failed),
            runs=_later(self.runs, before.runs),
        )


def read_metrics(url: str) -> str:
    """What the service at `url` counts now, as Prometheus text.

    Raises:
        FlightlineError: it does not answer with metrics.
    """

    def ask() -> str:
        answer = httpx.get(f"{url}/metrics", timeout=TIMEOUT_S, trust_env=False, verify=authorities())
        return answer.raise_for_status().text

    try:
        try:
            return ask()
        except CUT:  # the worker that took the connection has died; each of the others counts for all
            return ask()
    except httpx.HTTPError as error:
        raise FlightlineError(
            f"/metrics does not answer ({error})", "what the service counts", "Read its log"
        ) from None


def counted_together(texts: Sequence[str], model: str, versions: tuple[str, ...]) -> tuple[Counted, ...]:
    """What several processes have counted of each of `versions`, in sum."""
    each = [counted(text, model, versions) for text in texts]
    return tuple(functools.reduce(Counted.plus, of_one, Counted()) for of_one in zip(*each, strict=True))


def counted(text: str, model: str, versions: tuple[str, ...]) -> tuple[Counted, ...]:
    """What Prometheus text says of each of `versions` of `model`; zeros of one that it does not mention."""
    numbers: dict[str, dict[str, int]] = {version: {} for version in versions}
    buckets: dict[tuple[str, str], dict[int, int]] = {}
    for name, labels, value in _samples(text):
        version = labels.get("version", "")
        if labels.get("model") != model or version not in numbers:
            continue
        if name in {_SECONDS, _SHADOW_SECONDS}:
            place = _BOUNDS.get(float(labels["le"]))
            if place is not None:
                buckets.setdefault((name, version), {})[place] = int(value)
        else:
            numbers[version][f"{name} {labels.get('outcome', '')}"] = int(value)
    return tuple(
        Counted(
            failed=numbers[version].get("flightline_failed_requests_total ", 0),
            latencies=_latencies(buckets.get((_SECONDS, version), {})),
            agreed=numbers[version].get("flightline_shadow_rows_total agreed", 0),
            differed=numbers[version].get("flightline_shadow_rows_total differed", 0),
            shadow_failed=numbers[version].get("flightline_shadow_rows_total failed", 0),
            runs=_latencies(buckets.get((_SHADOW_SECONDS, version), {})),
        )
        for version in versions
    )


def _samples(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match is not None:
            yield match["name"], dict(_LABEL.findall(match["labels"])), float(match["value"])


def _latencies(cumulative: dict[int, int]) -> Latencies:
    """Prometheus's buckets hold what is below them as well."""
    counts, below = [], 0
    for place in range(len(_BOUNDS)):
        reached = max(cumulative.get(place, below), below)
        counts.append(reached - below)
        below = reached
    return Latencies(tuple(counts))


def _together(one: Latencies, other: Latencies) -> Latencies:
    return Latencies(tuple(map(sum, zip(one.counts, other.counts, strict=True))))


def _later(after: Latencies, before: Latencies) -> Latencies:
    return Latencies(tuple(_more(*pair) for pair in zip(after.counts, before.counts, strict=True)))


def _more(after: int, before: int) -> int:
    if after < before:
        raise RestartedError(
            "the service counts from zero again", "the process that ran before", "Read its log"
        )
    return after - before
