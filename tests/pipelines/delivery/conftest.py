"""A place of its own for every delivery test: settings with free ports, and toy models as if just trained."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from contract.attestation import sign
from contract.bundle import Bundle, open_bundle, seal
from contract.statements import STAGING_CHECKS, Qualification, StagingEvidence
from contract.strict import encode_json
from contract.verdict import Verdict
from pipelines import ledger
from pipelines.delivery import placement
from pipelines.delivery.evidence import read_evidence
from pipelines.delivery.keys import private_key
from pipelines.delivery.registry import CHAMPION, Registry, Version, connect
from pipelines.delivery.rollout_policy import Rollout, Step
from pipelines.delivery.tracking_server import ensure, stop
from pipelines.deploy import deploy_staging
from pipelines.local import down, up
from pipelines.machine.settings import Settings
from pipelines.promote import promote
from pipelines.reconcile import reconcile
from pipelines.register import Registered, register
from tests.conftest import make_release
from training.card import gate_table


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for probe in sockets:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in sockets]
    finally:
        for probe in sockets:
            probe.close()


def settings_in(var: Path, **more: str) -> Settings:
    """Settings that keep everything in `var` and listen on free ports."""
    mlflow, staging, production, relay, reconciler = free_ports(5)
    return Settings.from_environment(
        {
            "FLIGHTLINE_VAR": str(var),
            "FLIGHTLINE_MLFLOW_PORT": str(mlflow),
            "FLIGHTLINE_STAGING_PORT": str(staging),
            "FLIGHTLINE_PRODUCTION_PORT": str(production),
            "FLIGHTLINE_RELAY_PORT": str(relay),
            "FLIGHTLINE_RECONCILER_PORT": str(reconciler),
            "FLIGHTLINE_ACTOR": "tester",
            **more,
        }
    )


@contextmanager
def running_mlflow(var: Path) -> Iterator[Settings]:
    """An MLflow server that keeps everything in `var`, for the length of the block."""
    settings = settings_in(var)
    try:
        ensure(settings, quiet)
        yield settings
    finally:
        stop(settings)


def trained(
    artifacts: Path, *, model: str = "toy", seed: int = 0, verdict: str = "pass", **more: Any
) -> Bundle:
    """The outputs of a finished training run in `artifacts/MODEL`; another `seed` is another model."""
    folder = artifacts / model
    made = make_release(folder, model=model, seed=seed, **more)
    gates = [
        {
            "code": "G03",
            "title": "quality",
            "verdict": verdict,
            "value": "0.71",
            "threshold": "0.7",
            "reason": "x",
        }
    ]
    (made.bundle / "evidence.json").write_text(json.dumps({"verdicts": gates}))
    table = gate_table(read_evidence(made.bundle))
    (made.bundle / "model_card.md").write_text(f"---\nmodel_name: {model}\n---\n\n# {model}\n\n{table}\n")
    seal(made.bundle, made.contract)
    (folder / "metrics.json").write_text(json.dumps({"roc_auc": 0.71 + seed / 100, "log_loss": 0.4}))
    curve = {"metric": "log_loss", "train": [0.6, 0.5, 0.4], "validation": [0.61, 0.52, 0.45]}
    (folder / "curve.json").write_text(json.dumps(curve))
    gain = {"gain": 0.02, "lower": 0.01, "upper": 0.03}
    (folder / "ablation.json").write_text(json.dumps({"metric": "log_loss", "groups": {"sizes": gain}}))
    (folder / "report").mkdir(exist_ok=True)
    (folder / "report" / "roc.png").write_bytes(b"a picture")
    (folder / "report" / "roc.json").write_text("[]")
    return open_bundle(made.bundle)


def qualify(bundle: Bundle, settings: Settings, *, outcome: str = "accepted", champion: str = "") -> None:
    """Write the qualification of a bundle as `pipelines.qualify` does."""
    path = settings.qualification(bundle.digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    statement = Qualification(
        model=bundle.model,
        digest=bundle.digest,
        outcome=outcome,
        champion=champion,
        held_out="0" * 64,
        reasons=(f"it was {outcome}",),
        verdicts=(
            Verdict("G05", "champion", "pass" if champion else "not applicable", "", "", "compared"),
            Verdict("G10", "speed", "fail" if outcome == "failed" else "pass", "1.2", "<= 3", "timed"),
        ),
    )
    path.write_bytes(encode_json(statement))


def evidence(version: Version, settings: Settings, /, **changes: object) -> str:
    """An envelope in which staging says that `version` passed all its checks, or something changed."""
    honest = StagingEvidence(
        model=version.model,
        digest=version.digest,
        version=version.version,
        run_id=version.run_id,
        checks=tuple((name, True, "seen") for name in STAGING_CHECKS),
        tested_at="2013-04-01T00:00:00+00:00",
        measured={"load": {"requests_per_second": 1000.0}},
    )
    key = private_key(settings.keys, "staging")
    return sign(msgspec.structs.replace(honest, **changes), "staging", key).decode()


@dataclass
class World:
    """MLflow and services that run; every test has a model of its own, so order does not matter."""

    settings: Settings
    folder: Path

    @property
    def registry(self) -> Registry:
        """An open connection."""
        return connect(self.settings)

    def build(self, model: str, seed: int = 0, **more: Any) -> tuple[Path, Bundle]:
        """A trained and accepted bundle, compared with whatever is live; `more` as of `make_release`."""
        artifacts = self.folder / f"{model}-{seed}"
        bundle = trained(artifacts, model=model, seed=seed, **more)
        live = ledger.live(ledger.read(self.settings.ledger), "production", model)
        qualify(bundle, self.settings, champion=live.digest if live else "")
        return artifacts, bundle

    def register(self, model: str, seed: int = 0, **more: Any) -> Registered:
        """Build and register."""
        artifacts, _ = self.build(model, seed, **more)
        return register(model, self.settings, artifacts, quiet)

    def stage(self, model: str, seed: int = 0, **more: Any) -> Registered:
        """Build, register and pass staging."""
        registered = self.register(model, seed, **more)
        deploy_staging(model, self.settings, say=quiet)
        return registered

    def promote(self, model: str, seed: int = 0) -> Registered:
        """Build and bring all the way to production."""
        staged = self.stage(model, seed)
        promote(model, self.settings, actor="ada", say=quiet)
        return staged

    def reconcile(self) -> dict[str, str]:
        """Reconcile the models of all tests; model to outcome."""
        return {item.model: item.outcome for item in reconcile(self.settings, quiet, self.registry.models())}

    def champion(self, model: str) -> str | None:
        """The version that has the alias."""
        return self.registry.aliases(model).get(CHAMPION)

    def serves(self, environment: str, model: str) -> str:
        """The version that answers over HTTP, asked with a real row."""
        answer = httpx.post(
            f"{self.settings.service_url(environment)}/predict",
            params={"model": model},
            json={"row": {"width": 1.0, "height": 1.0, "letter": "A"}},
            trust_env=False,
        )
        return str(answer.json()["version"]) if answer.status_code == 200 else f"{answer.status_code}"


def quiet(_: str) -> None:
    """Say nothing."""


# Toy models of different seeds disagree in most rows, and four rows are all there are.
QUICK = Rollout(
    shadow=Step(percent=100, requests=20, longest_s=20),
    canary=(Step(percent=25, requests=20, longest_s=20),),
    callers=0,
    probes=500,
    failed=0.001,
    p99_ratio=10,
    p99_floor_ms=200,
    disagreement=1,
)


@pytest.fixture(scope="session", autouse=True)
def _quick_rollouts() -> Iterator[None]:
    """Toy models have no section in policy.yaml."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(placement, "read_rollout", lambda *_: QUICK)
        yield


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """MLflow, staging and production of their own, started once."""
    if not Settings.from_environment({}).serving_python.exists():
        pytest.skip("THE SERVING ENVIRONMENT IS MISSING (.venv-serving): run `make setup`")
    folder = tmp_path_factory.mktemp("world")
    settings = settings_in(folder / "var")
    try:
        up(settings, quiet)
        yield World(settings, folder)
    finally:
        down(settings, quiet)
