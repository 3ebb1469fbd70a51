"""Putting one version of a model into one environment, with a way back: used by deploy and rollback alike."""

import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import msgspec

from contract.errors import FlightlineError
from pipelines.cli import enough_room
from pipelines.delivery.backend import Backend, backend
from pipelines.delivery.kept import prune
from pipelines.delivery.next_state import champions
from pipelines.delivery.registry import STAGING
from pipelines.delivery.releases import Release
from pipelines.delivery.rollout import OutsidePolicyError, Rolling, StepSeen
from pipelines.delivery.rollout_policy import Rollout, read_rollout
from pipelines.delivery.services import recorded, unfinished
from pipelines.delivery.smoke import run_smoke
from pipelines.ledger import Action, Entry, Placed, append, live, read
from pipelines.machine.environments import PRODUCTION
from pipelines.machine.processes import Say
from pipelines.machine.settings import Settings
from pipelines.staging.checks import Check, require_passed
from serving.models.desired import DesiredModel

SMOKE, SUITE = "smoke tests", "staging suite"
FREED_S = 5.0  # until the port of a killed service is free


class VersionRefusedError(FlightlineError):
    """A version that may not run or cannot. What the machine could not do is any other FlightlineError."""

    def __init__(self, found: str, expected: str, remedy: str, steps: tuple[StepSeen, ...] = ()) -> None:
        """Keep the `steps` of the rollout that ended so, if there was one."""
        super().__init__(found, expected, remedy)
        self.steps = steps


@dataclass(frozen=True)
class Change:
    """Who changes what, and why."""

    environment: str
    model: str
    version: str
    who: str
    why: str
    action: Action = "deploy"
    evidence: str = ""  # hash of the signed evidence that allows it
    at: datetime | None = None  # the moment to record; the replay of a past sets it


@dataclass(frozen=True)
class Deployed:
    """A version that runs, and what was seen of it."""

    environment: str
    model: str
    version: str
    digest: str
    generation: int
    previous: Placed | None
    changed: bool  # False: it ran already, and was checked again
    checks: tuple[Check, ...]
    url: str
    steps: tuple[StepSeen, ...] = ()  # of a rollout, before the version answered everybody

    def plain(self) -> dict[str, object]:
        """For `--json`."""
        before = self.previous
        return {
            **asdict(self),
            "previous": {"version": before.version, "digest": before.digest} if before else None,
        }


def place(change: Change, release: Release, settings: Settings, say: Say = print) -> Deployed:
    """Serve `release`, smoke-test it, and write the ledger; on any failure serve what ran before.

    Where a champion answers in production, the version takes over step by step, as policy.yaml says; a
    rollback goes at once to what has answered before. A version that production refuses is in the ledger as
    such. The caller holds the environment's lock (`changing`).

    Raises:
        VersionRefusedError: the service refuses the release, it fails a smoke test, or a step of its rollout.
        FlightlineError: the service does not start, or the ledger cannot be written.
    """
    return _Placing(change, release, settings, say).done()


@dataclass(frozen=True)
class _Placing:
    """One change under way."""

    change: Change
    release: Release
    settings: Settings
    say: Say

    def done(self) -> Deployed:
        change, settings, environment = self.change, self.settings, self.change.environment
        entries = read(settings.ledger)
        before = recorded(environment, entries, settings)
        previous = live(entries, environment, change.model)
        placed = Placed(version=change.version, digest=self.release.bundle.digest)
        policy = self._policy(previous)
        _align(environment, before, settings)
        ran = self._backend.running()
        self._backend.ensure(self.say)
        try:
            steps: tuple[StepSeen, ...] = ()
            if policy is not None and self._champion_answers(before):
                steps = self._roll_out(before, policy)
            generation, checks = self._take_over(before, steps)
            if previous != placed or self._back:
                append(settings.ledger, self._entry(previous, placed))
        except BaseException as error:  # Ctrl-C too: what ran before runs again
            self._restore(keep_running=ran)
            if isinstance(error, VersionRefusedError) and environment == PRODUCTION and not self._back:
                self._record_refusal(previous, placed, error)
            raise
        again = ", as before" if previous == placed else ""
        self.say(
            f"{environment}: {change.model} version {change.version} is live at {self._backend.url}{again}"
        )
        prune(settings, self.say)
        return Deployed(
            environment=environment,
            model=change.model,
            version=change.version,
            digest=placed.digest,
            generation=generation,
            previous=previous,
            changed=previous != placed,
            checks=checks,
            url=self._backend.url,
            steps=steps,
        )

    @property
    def _backend(self) -> Backend:
        """Where it takes place."""
        return backend(self.change.environment, self.settings)

    @property
    def _back(self) -> bool:
        """Whether it is to what ran before: its contract may be the older one."""
        return self.change.action != "deploy"

    def _policy(self, previous: Placed | None) -> Rollout | None:
        """How the version takes over; None: at once, as nothing else answers or it did so before."""
        if self.change.environment != PRODUCTION or self._back or previous is None:
            return None
        if previous.digest == self.release.bundle.digest:
            return None
        return read_rollout(self.change.model, self.settings)

    def _champion_answers(self, before: Mapping[str, DesiredModel]) -> bool:
        """Whether what the ledger says runs does; beside one that cannot there is nothing to compare."""
        environment = self.change.environment
        if self._backend.intact(before) and self._backend.ready():
            return True
        try:
            self._backend.converge(before)
        except FlightlineError as error:
            self.say(f"{environment}: no champion answers ({error.found}), so the version takes over at once")
            return False
        return True

    def _roll_out(self, before: Mapping[str, DesiredModel], policy: Rollout) -> tuple[StepSeen, ...]:
        rolling = Rolling(
            environment=self.change.environment,
            before=before,
            version=self.change.version,
            release=self.release,
            policy=policy,
            settings=self.settings,
            say=self.say,
        )
        try:
            return rolling.run()
        except FlightlineError as error:
            steps = error.steps if isinstance(error, OutsidePolicyError) else ()
            raise VersionRefusedError(error.found, error.expected, error.remedy, steps) from error

    def _take_over(
        self, before: Mapping[str, DesiredModel], steps: tuple[StepSeen, ...]
    ) -> tuple[int, tuple[Check, ...]]:
        """Have the version answer everybody, and look: the generation it took, and what was seen."""
        environment, model = self.change.environment, self.change.model
        version, bundle = self.change.version, self.release.bundle
        wanted = DesiredModel.of(version, str(self.release.path), bundle.digest, older_contract=self._back)
        try:
            generation = self._backend.converge({**before, model: wanted})
        except FlightlineError as error:
            raise VersionRefusedError(error.found, error.expected, error.remedy, steps) from error
        # Outside: that a suite cannot be run, for want of data or of a policy, is not the version's fault.
        checks = _look(self.change, self.release, self.settings, self.say)
        for check in checks:
            self.say(f"{environment}: {'ok  ' if check.passed else 'FAIL'} {check.name}: {check.seen}")
        try:
            require_passed(checks, f"version {version} of {model} in {environment}", _suite(self.change))
        except FlightlineError as error:
            raise VersionRefusedError(error.found, error.expected, error.remedy, steps) from error
        return generation, checks

    def _restore(self, *, keep_running: bool) -> None:
        """Serve what the ledger says, which may already be the new version; stop what was started for this.

        A service that ran and is gone is started again: the version that was tried may have ended it.
        """
        environment, settings, exact = self.change.environment, self.settings, (self.change.model,)
        before = recorded(environment, read(settings.ledger), settings)
        try:
            with enough_room():
                if not keep_running:
                    self._backend.stop()
                    self._backend.desire(before, exact)
                    return
                if not self._backend.running():
                    self._backend.desire(before, exact)
                    self._start_again()
                self._backend.converge(before, exact)
        except FlightlineError as error:
            # Whoever looks next puts it in order: `unfinished` and the ledger tell.
            self.say(f"{environment}: it is not confirmed that what ran before does so again ({error.found})")

    def _start_again(self) -> None:
        """Start the service; one that was killed holds its port for a moment longer than it can be found."""
        deadline = time.monotonic() + FREED_S
        while True:
            try:
                self._backend.ensure(self.say)
            except FlightlineError:
                if time.monotonic() > deadline:
                    raise
                threading.Event().wait(0.2)
            else:
                return

    def _record_refusal(self, previous: Placed | None, placed: Placed, refusal: VersionRefusedError) -> None:
        """Have the ledger say that the version was tried, and why it does not run."""
        entry = self._entry(previous, placed)
        why = f"{refusal.found} ({entry.why})"
        try:
            append(self.settings.ledger, msgspec.structs.replace(entry, action="refused", why=why))
        except FlightlineError as error:
            self.say(f"the refusal is not in the ledger: {error}")

    def _entry(self, previous: Placed | None, placed: Placed) -> Entry:
        change = self.change
        return Entry(
            at=change.at or datetime.now(UTC),
            environment=change.environment,
            model=change.model,
            action=change.action,
            before=previous,
            after=placed,
            who=change.who,
            why=change.why,
            evidence=change.evidence,
        )


def _look(change: Change, release: Release, settings: Settings, say: Say) -> tuple[Check, ...]:
    """What is seen of a version that serves: in staging all that it must pass to be promoted."""
    url, version = settings.service_url(change.environment), change.version
    if _suite(change) == SMOKE:
        return run_smoke(url, release.bundle, version, settings.environment(change.environment).smoke)
    # It reads the past and scores it, which takes libraries that a rollback, which has seconds, does without.
    from pipelines.staging.suite import run_suite

    return run_suite(url, release, version, settings, say)


def _suite(change: Change) -> str:
    """Which suite a version must pass: staging's is for one that is to be promoted, not for the way back."""
    return SUITE if (change.environment, change.action) == (STAGING, "deploy") else SMOKE


def _align(environment: str, before: Mapping[str, DesiredModel], settings: Settings) -> None:
    """Undo what a deployment that was killed left desired: a service must not start with it."""
    place = backend(environment, settings)
    desired = place.desired()
    found = champions(desired.models) if desired else {}
    left = unfinished(environment, settings)
    if (found != champions(before) or left) and not place.running():
        place.desire(before)
