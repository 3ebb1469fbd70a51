"""Where everything that happens on this machine is kept, and how it is reached."""

import getpass
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from contract.errors import ConfigError
from contract.strict import near_miss
from pipelines.machine.cluster import cluster_variables
from pipelines.machine.environments import Environment, port_variable, read_environments, read_port

ROOT = Path(__file__).resolve().parents[2]
MLFLOW_PORT = 5010
MLFLOW_PORT_VARIABLE = "FLIGHTLINE_MLFLOW_PORT"
RELAY_PORT, RECONCILER_PORT = 8110, 8111
RELAY_PORT_VARIABLE, RECONCILER_PORT_VARIABLE = "FLIGHTLINE_RELAY_PORT", "FLIGHTLINE_RECONCILER_PORT"


@dataclass(frozen=True)
class Settings:
    """Folders, ports and names. Nothing is created by reading them."""

    checkout: Path  # the main checkout: services run from here, also for a run in a git worktree
    var: Path  # what happened on this machine: databases, keys, releases, logs
    mlflow_port: int
    tracking_uri: str
    owns_tracking: bool  # False: MLFLOW_TRACKING_URI names a server that is not ours to start or stop
    environments: dict[str, Environment]
    serving_python: Path
    actor: str  # who acts, for the ledger
    relay_port: int = RELAY_PORT
    reconciler_port: int = RECONCILER_PORT

    @classmethod
    def from_environment(cls, variables: Mapping[str, str] | None = None) -> "Settings":
        """Settings from environment variables, each with a default that needs none.

        Raises:
            ConfigError: a variable has no usable value.
        """
        values = os.environ if variables is None else variables
        checkout = main_checkout(ROOT)
        port = read_port(values, MLFLOW_PORT_VARIABLE, MLFLOW_PORT)
        given = values.get("MLFLOW_TRACKING_URI", "").rstrip("/")
        if given and not given.startswith(("http://", "https://")):
            raise ConfigError(
                f"MLFLOW_TRACKING_URI is '{given}'", "the http(s) address of an MLflow server", "Unset it"
            )
        python = checkout / ".venv-serving" / "bin" / "python"
        return cls(
            checkout=checkout,
            var=Path(values.get("FLIGHTLINE_VAR") or checkout / "var").absolute(),
            mlflow_port=port,
            tracking_uri=given or f"http://127.0.0.1:{port}",
            owns_tracking=not given,
            environments=read_environments(ROOT / "infra" / "environments.yaml", values),
            serving_python=Path(values.get("FLIGHTLINE_SERVING_PYTHON") or python),
            actor=values.get("FLIGHTLINE_ACTOR") or getpass.getuser(),
            relay_port=read_port(values, RELAY_PORT_VARIABLE, RELAY_PORT),
            reconciler_port=read_port(values, RECONCILER_PORT_VARIABLE, RECONCILER_PORT),
        )

    def variables(self) -> dict[str, str]:
        """The environment variables that give a process started from here these very settings."""
        found = {
            "FLIGHTLINE_VAR": str(self.var),
            MLFLOW_PORT_VARIABLE: str(self.mlflow_port),
            "MLFLOW_TRACKING_URI": "" if self.owns_tracking else self.tracking_uri,
            "FLIGHTLINE_SERVING_PYTHON": str(self.serving_python),
            "FLIGHTLINE_ACTOR": self.actor,
            RELAY_PORT_VARIABLE: str(self.relay_port),
            RECONCILER_PORT_VARIABLE: str(self.reconciler_port),
        }
        for name, environment in self.environments.items():
            found[port_variable(name)] = str(environment.port)
            found[f"FLIGHTLINE_{name.upper()}_CLOCK"] = environment.clock
            found[f"FLIGHTLINE_{name.upper()}_BACKEND"] = environment.backend
            if environment.cluster is not None:
                for field, variable in cluster_variables(name).items():
                    found[variable] = getattr(environment.cluster, field)
        return found

    @property
    def mlflow_database(self) -> Path:
        """Everything that our own MLflow knows."""
        return self.var / "mlflow.db"

    @property
    def has_registry(self) -> bool:
        """Whether there may be registered models; our own MLflow that was never started has none."""
        return not self.owns_tracking or self.mlflow_database.exists()

    @property
    def ledger(self) -> Path:
        """The record of what ran where, and when."""
        return self.var / "ledger.jsonl"

    @property
    def keys(self) -> Path:
        """Signing keys and the list of those that are trusted."""
        return self.var / "keys"

    @property
    def trust(self) -> Path:
        """The public keys that a deployer and a server believe."""
        return self.keys / "trust.json"

    @property
    def releases(self) -> Path:
        """Fetched releases by digest; a rollback needs nothing else."""
        return self.var / "releases"

    @property
    def processes(self) -> Path:
        """What was started by us and may still run."""
        return self.var / "processes"

    @property
    def logs(self) -> Path:
        """What started processes said."""
        return self.var / "logs"

    @property
    def runs(self) -> Path:
        """Retraining runs: a git worktree each."""
        return self.var / "runs"

    def labels(self, model: str) -> Path:
        """Labels of a model as they arrived."""
        return self.var / "labels" / model

    def qualification(self, digest: str) -> Path:
        """The outcome of qualifying the bundle `digest`."""
        return self.var / "qualifications" / f"{digest}.json"

    def held_out(self, model: str) -> Path:
        """Which bundles were judged on which held-out rows of a model."""
        return self.var / "held_out" / f"{model}.jsonl"

    def state(self, environment: str) -> Path:
        """What a service should run, and what it made of it."""
        return self.var / "environments" / environment / "state"

    def predictions(self, environment: str) -> Path:
        """The prediction log of an environment, one folder a model."""
        return self.var / "predictions" / environment

    def scores(self, environment: str) -> Path:
        """Precomputed answers that the service of an environment looks up, one file a model."""
        return self.var / "scores" / environment

    def environment(self, name: str) -> Environment:
        """The environment `name`.

        Raises:
            ConfigError: there is none of that name.
        """
        known = sorted(self.environments)
        if name not in self.environments:
            hint = near_miss(name, known)
            raise ConfigError(
                f"environment '{name}' is unknown{hint}", " or ".join(known), "Name one of them"
            )
        return self.environments[name]

    def service_url(self, environment: str) -> str:
        """Where the service of an environment answers."""
        declared = self.environment(environment)
        if declared.backend == "kubernetes" and declared.cluster is not None:
            return declared.cluster.url.rstrip("/")
        return f"http://127.0.0.1:{declared.port}"


def main_checkout(root: Path) -> Path:
    """The checkout that `root` belongs to: itself, or the one it is a git worktree of.

    A retraining works in a worktree, yet registers, deploys and signs where everybody else does.
    """
    link = root / ".git"
    if not link.is_file():
        return root
    common = Path(link.read_text(encoding="utf-8").removeprefix("gitdir:").strip())
    common = (root / common).resolve()
    if common.parent.name == "worktrees":  # MAIN/.git/worktrees/NAME
        return common.parents[2]
    return root
