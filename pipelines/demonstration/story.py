"""The demonstration's steps: each does one thing for real and says in one line what came of it."""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx

from contract.errors import FlightlineError
from pipelines.building.config import params, read_yaml
from pipelines.building.repro import repro
from pipelines.demonstration.checks import Probe, live_release, tampered
from pipelines.demonstration.declared import DECLARED, Declared
from pipelines.demonstration.services import Services
from pipelines.deploy import deploy_staging
from pipelines.machine.settings import Settings
from pipelines.monitor import monitor
from pipelines.promote import promote
from pipelines.qualify import qualify
from pipelines.register import register
from pipelines.replay import replay
from pipelines.retrain import Retrained, retrain
from pipelines.rollback import rollback

MODEL, SMALL = "flights", "iris"
ACTOR = "demo"  # the demonstration decides in a person's place, and the ledger says so
ARTIFACTS = Path("artifacts")
DVC = Path("dvc.yaml")
NOTES_REQUEST = {"data": [[2.1, 4.5, 3.7, 5.2]]}
# Months to live through until a challenger has earned its promotion.
MONTHS = [datetime(2013, month, 1, tzinfo=UTC) for month in (4, 5, 6, 7)]


@dataclass
class Demo:
    """The demonstration's state: where it happens, and what was promoted so far."""

    settings: Settings
    services: Services
    declared: Declared  # what is tried, beside what the months bring
    live: str = ""  # the version in production
    reports: list[str] = field(default_factory=list)
    challenger: Retrained | None = None

    def build(self) -> str:
        """`dvc repro` for both models; what is in DVC's cache is reused."""
        lines: list[str] = []

        def say(line: str) -> None:
            lines.append(line)
            print(line, flush=True)

        repro(None, Path(), say)
        reused = sum("unchanged" in line or "from the cache" in line for line in lines)
        stages = len(read_yaml(DVC)["stages"]) * len((MODEL, SMALL))
        return f"{MODEL} as of {params(MODEL).as_of:%Y-%m-%d} and {SMALL}; {reused} of {stages} stages reused"

    def start(self) -> str:
        """MLflow, staging and production: started beside the build, awaited here."""
        self.services.wait()
        return "MLflow, staging and production answer on loopback"

    def register(self) -> str:
        """Track, qualify and register both models."""
        versions = []
        for model in (MODEL, SMALL):
            qualify(model, self.settings, ARTIFACTS)
            versions.append(f"{model} {register(model, self.settings, ARTIFACTS).version}")
        return f"registered {' and '.join(versions)}, with evidence, card and lineage"

    def stage(self) -> str:
        """Both challengers in staging, each through the whole suite over HTTP."""
        for model in (MODEL, SMALL):
            deploy_staging(model, self.settings, who=ACTOR)
        return "the suite passed: load, and a month as in batch, included; the versions carry signed evidence"

    def release(self) -> str:
        """The champion alias moves; production follows and is tested again."""
        for model in (MODEL, SMALL):
            deployed = promote(model, self.settings, actor=ACTOR)
            self.live = deployed.version if model == MODEL else self.live
        url = self.settings.service_url("production")
        answer = httpx.post(f"{url}/predict/label", json=NOTES_REQUEST, timeout=10, trust_env=False).json()
        _must(answer == {"prediction": "virginica"}, f"/predict/label answered {answer}")
        return f"{MODEL} {self.live} and {SMALL} serve; /predict/label answers {answer['prediction']}"

    def month(self, number: int) -> str:
        """One month of traffic, the check after it, and what the check decides."""
        start, end = MONTHS[number], MONTHS[number + 1]
        sent = replay(MODEL, start, end, self.settings, environment="production")
        found = monitor(MODEL, self.settings, end)
        self.reports.append(found.report)
        told = f"{sent.rows:,} predictions, drift {found.drift.partition(':')[0]}, "
        told += f"performance {found.performance.partition(':')[0]}"
        if found.action != "retrain":
            return f"{told}: {found.action}; the next month is taken"
        self.challenger = retrain(MODEL, end, self.settings)
        if self.challenger.qualified.outcome == "kept":
            return f"{told}: retrained, champion kept ({'; '.join(self.challenger.qualified.reasons)})"
        _must(bool(self.challenger.version), f"the challenger {self.challenger.qualified.outcome}")
        return f"{told}: retrained, version {self.challenger.version} earned its place"

    def promote_challenger(self) -> str:
        """The challenger that a month's retraining earned, if one did, goes the way of the first version."""
        if not self.earned:
            return f"no month's challenger earned it: the champion, {MODEL} {self.live}, is kept"
        return self._promote("")

    def promote_candidate(self) -> str:
        """A declared candidate passes every gate, G05 against the champion included, and is promoted."""
        trial = self.declared.candidate
        print(f"  declared in {DECLARED}: {trial}")
        found = retrain(MODEL, self._trained_as_of(), self.settings, trial.changes)
        judged = found.qualified
        word = "does not earn the champion's place" if judged.outcome == "kept" else judged.outcome
        _must(bool(found.version), f"the candidate {trial} {word} ({'; '.join(judged.reasons)})")
        _must(found.version != self.live, f"the candidate {trial} is the champion itself")
        moved = self._promote(f"declared candidate: {trial}", found.version)
        against = next(item.value for item in judged.verdicts if item.code == "G05")
        return f"{trial}: G05 {against}; {moved}"

    def fail_a_gate(self) -> str:
        """A model that fails its gates is tracked, and goes no further."""
        probe = Probe(self.settings, MODEL)
        trial = self.declared.broken
        print(f"  declared in {DECLARED}: {trial}")
        broken = retrain(MODEL, self._trained_as_of(), self.settings, trial.changes)
        _must(broken.qualified.outcome == "failed" and not broken.version, f"{trial} was not stopped")
        probe.must_be_unchanged()
        codes = ", ".join(reason.split()[0] for reason in broken.qualified.reasons)
        return f"{trial} fails {codes}; nothing registered, production untouched"

    def tamper(self) -> str:
        """One flipped bit in a bundle, and the deployer refuses it."""
        probe = Probe(self.settings, MODEL)
        with tampered(self.settings, MODEL):
            try:
                deploy_staging(MODEL, self.settings, self.live, who=ACTOR)
            except FlightlineError as refusal:
                print(f"  refused: {refusal}")
                probe.must_be_unchanged()
                return "one flipped bit in model.onnx: refused, production untouched"
        raise FlightlineError("a tampered bundle was deployed", "a refusal", "Mend the deployer")

    def roll(self) -> str:
        """One version back, and forward again."""
        began = time.monotonic()
        back = rollback(MODEL, self.settings, actor=ACTOR)
        seconds = time.monotonic() - began
        forward = rollback(MODEL, self.settings, forward=True, actor=ACTOR)
        _must(back.version != self.live, f"the rollback left version {back.version} in place")
        _must(forward.version == self.live, f"going forward again led to version {forward.version}")
        return f"{self.live} → {back.version} in {seconds:.1f} s, then → {forward.version}"

    @property
    def earned(self) -> bool:
        """Whether a month's challenger was accepted, and so waits for its promotion."""
        return self.challenger is not None and bool(self.challenger.version)

    def _promote(self, why: str, version: str | None = None) -> str:
        """Staging first, then production, as a person would."""
        deploy_staging(MODEL, self.settings, version, who=ACTOR, why=why)
        before, self.live = self.live, promote(MODEL, self.settings, version, actor=ACTOR, why=why).version
        return f"{MODEL} {before} → {self.live}, staging first, then production"

    def _trained_as_of(self) -> datetime:
        return datetime.fromisoformat(live_release(self.settings, MODEL).environment.as_of)


def _must(condition: bool, otherwise: str) -> None:
    if not condition:
        raise FlightlineError(otherwise, "the demonstration's promise to hold", "See the lines above")
