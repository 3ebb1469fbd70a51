"""A new version beside the champion: loaded, asked by name, a shadow, then a canary; what each step saw.

Who answers callers is the champion alone until the version has answered its golden rows and, as a shadow, as
many of the champion's requests as the policy says. Each canary gives it a larger part. The last step, to all,
is not taken here.
"""

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from contract.bundle import open_bundle
from contract.errors import BundleError, FlightlineError
from pipelines.delivery.backend import backend
from pipelines.delivery.registry import BUNDLE
from pipelines.delivery.releases import Release
from pipelines.delivery.rollout_decision import Decision, Evidence, Kind, Latencies, decide
from pipelines.delivery.rollout_metrics import Counted, counted_together
from pipelines.delivery.rollout_policy import Rollout, Step
from pipelines.delivery.rollout_probes import TIMEOUT_S, Prober, probe_rows
from pipelines.delivery.services import begin_rollout
from pipelines.delivery.smoke import golden_by_name
from pipelines.machine.processes import Say
from pipelines.machine.progress import step as tell
from pipelines.machine.settings import Settings
from pipelines.machine.tls import authorities
from serving.models.desired import ALL, DesiredModel

LOOK_S = 0.2  # between two looks where there is nothing to send


@dataclass(frozen=True)
class StepSeen:
    """One step of a rollout, how it ended, and the numbers behind that."""

    step: str
    verdict: str
    reason: str
    seconds: float
    answered: int = 0  # requests that it answered; as a shadow, rows
    probes: int = 0  # of these, the deployer's own
    failed: int = 0
    differed: int = 0  # of `compared`
    compared: int = 0
    p99_ms: float | None = None  # a bucket's upper bound; None: none was timed, or one beyond all buckets
    champion_p99_ms: float | None = None  # of the champion while it answered alone


class OutsidePolicyError(FlightlineError):
    """A step did not end well. `steps` holds all that were taken, the last one included."""

    def __init__(self, found: str, steps: tuple[StepSeen, ...]) -> None:
        """Say what was found."""
        super().__init__(
            found, "a rollout within the limits of policy.yaml", "Correct the model, or see docs/runbook.md"
        )
        self.steps = steps


@dataclass
class Rolling:
    """A rollout that is under way."""

    environment: str
    before: Mapping[str, DesiredModel]  # what the environment runs, by model
    version: str
    release: Release
    policy: Rollout
    settings: Settings
    say: Say

    @property
    def model(self) -> str:
        """What is rolled out."""
        return self.release.bundle.model

    def run(self) -> tuple[StepSeen, ...]:
        """Every step but the last.

        Raises:
            OutsidePolicyError: one did not end well; what serves is still what it had made of it.
            FlightlineError: the service refuses the version, or does not answer.
        """
        begin_rollout(self.environment, self.model, self.version, self.settings)
        champion = self.before[self.model]
        self._serve(mirror={}, split={})
        url = self.settings.service_url(self.environment)
        with httpx.Client(base_url=url, timeout=TIMEOUT_S, trust_env=False, verify=authorities()) as client:
            steps = [self._golden(client)]
            prober = Prober(client, self.model, self._rows(), self.policy.probes)
            mirror = {self.version: self.policy.shadow.percent}
            watch = _Watch(
                backend(self.environment, self.settings).metrics,
                self.model,
                champion.default,
                self.version,
                prober,
                self.policy,
                self._progress,
            )
            self._serve(mirror=mirror, split={})
            self._take(watch, "shadow", self.policy.shadow, steps)
            for step in self.policy.canary:
                self._serve(
                    mirror=mirror, split={self.version: step.percent, champion.default: ALL - step.percent}
                )
                self._take(watch, "canary", step, steps)
        return tuple(steps)

    def _serve(self, *, mirror: dict[str, float], split: dict[str, float]) -> None:
        """Have the version loaded beside the champion, with this part of the requests."""
        champion = self.before[self.model]
        new = DesiredModel.of(self.version, str(self.release.path), self.release.bundle.digest)
        wanted = DesiredModel(
            default=champion.default,
            versions={**champion.versions, **new.versions},
            split=split,
            mirror=mirror,
        )
        backend(self.environment, self.settings).converge(
            {**self.before, self.model: wanted}, exact=(self.model,)
        )

    def _golden(self, client: httpx.Client) -> StepSeen:
        began = time.monotonic()
        check = golden_by_name(client, self.release.bundle, self.version)
        verdict = "proceed" if check.passed else "roll back"
        step = StepSeen("golden answers", verdict, check.seen, round(time.monotonic() - began, 3))
        self._tell(step)
        if not check.passed:
            raise OutsidePolicyError(f"asked by name, version {self.version} failed: {check.seen}", (step,))
        return step

    def _rows(self) -> list[dict[str, Any]]:
        """What the probes ask; a champion whose files are damaged is no fault of the version's."""
        if not self.policy.probes:
            return []
        champion = self.before[self.model]
        try:
            bundle = open_bundle(self.settings.releases / champion.digest / BUNDLE, champion.digest)
        except BundleError as error:
            self.say(f"{self.environment}: probes ask golden rows alone: {error.found}")
            return [dict(item.row) for item in self.release.bundle.golden.rows]
        return probe_rows(bundle, self.settings, self.environment)

    def _take(self, watch: "_Watch", kind: Kind, step: Step, steps: list[StepSeen]) -> None:
        seen, decision = watch.until_decided(kind, step)
        done = _summary(kind, step, seen, decision)
        steps.append(done)
        self._tell(done)
        if decision.verdict != "proceed":
            raise OutsidePolicyError(f"{done.step}: {decision.verdict}: {decision.reason}", tuple(steps))

    def _tell(self, step: StepSeen) -> None:
        word = "ok  " if step.verdict == "proceed" else "FAIL"
        self.say(f"{self.environment}: {word} {step.step}, {step.seconds:.1f} s: {step.reason}")

    def _progress(self, what: str, done: int, total: int) -> None:
        tell(self.say, what, done, total)


@dataclass
class _Watch:
    """Looks at what the service counts until a step is decided."""

    metrics: Callable[[], tuple[str, ...]]  # of each process that answers
    model: str
    champion: str
    version: str
    prober: Prober
    policy: Rollout
    progress: Callable[[str, int, int], None]  # what is seen, of how many it has seen, of how many wanted
    alone: Latencies = field(default_factory=Latencies)  # of the champion, while nobody else answered

    def until_decided(self, kind: Kind, step: Step) -> tuple[Evidence, Decision]:
        """What a step saw, and what follows.

        Raises:
            FlightlineError: the service does not answer, or was started anew.
        """
        began, before = time.monotonic(), self._read()
        self.prober.begin()
        while True:
            seen = self._since(kind, began, before)
            decision = decide(kind, step, seen, self.policy)
            counted = seen.compared if kind == "shadow" else seen.answered
            self.progress(_name(kind, step), min(counted, step.requests), step.requests)
            if decision.verdict != "wait":
                break
            if self.prober.able:
                self.prober.round(
                    kind, self.version, self.policy.shadow.percent, step.percent if kind == "canary" else 0
                )
            else:
                threading.Event().wait(LOOK_S)
        if kind == "shadow":
            self.alone = seen.champion
        return seen, decision

    def _read(self) -> tuple[Counted, ...]:
        return counted_together(self.metrics(), self.model, (self.champion, self.version))

    def _since(self, kind: Kind, began: float, before: tuple[Counted, ...]) -> Evidence:
        champion, version = (now.since(then) for now, then in zip(self._read(), before, strict=True))
        shadow = kind == "shadow"
        return Evidence(
            seconds=time.monotonic() - began,
            answered=version.latencies.total,
            failed=version.failed + (0 if shadow else self.prober.lost),
            probes=0 if shadow else self.prober.own,
            latencies=version.runs if shadow else version.latencies,
            compared=version.agreed + version.differed,
            differed=version.differed,
            shadow_failed=version.shadow_failed + (self.prober.lost if shadow else 0),
            probed=self.prober.own if shadow else 0,
            champion=champion.latencies if shadow else self.alone,
        )


def _name(kind: Kind, step: Step) -> str:
    return f"{kind} {step.percent:g} %"


def _summary(kind: Kind, step: Step, seen: Evidence, decision: Decision) -> StepSeen:
    shadow = kind == "shadow"
    return StepSeen(
        step=_name(kind, step),
        verdict=decision.verdict,
        reason=decision.reason,
        seconds=round(seen.seconds, 3),
        answered=seen.compared if shadow else seen.answered,
        probes=seen.probed if shadow else seen.probes,
        failed=seen.shadow_failed if shadow else seen.failed,
        differed=seen.differed,
        compared=seen.compared,
        p99_ms=_milliseconds(seen.latencies),
        champion_p99_ms=_milliseconds(seen.champion),
    )


def _milliseconds(latencies: Latencies) -> float | None:
    seconds = latencies.p99()
    return seconds * 1000 if latencies.total and math.isfinite(seconds) else None
