"""The MLflow server of this machine: SQLite, artifacts through its proxy, one worker, on loopback."""

import sys

import httpx
from cryptography.fernet import Fernet

from contract.errors import FlightlineError
from pipelines.delivery.keys import shared_secret
from pipelines.machine.processes import Program, Say, find, start_all
from pipelines.machine.processes import stop as stop_process
from pipelines.machine.settings import MLFLOW_PORT_VARIABLE, Settings

NAME = "mlflow"
STORE_KEY = "mlflow-webhooks.key"  # under which MLflow keeps webhooks' secrets in its database
APPLICATION = "pipelines.promotion.guard:create_app"  # MLflow's own, which judges promotions first
HTTP_OK = 200
PROBE_S = 3.0  # a server that is up answers in milliseconds; commands must say within 5 s that it is down


class NoAnswerError(FlightlineError):
    """MLflow does not answer, or not as it should: nothing is known about any version."""


def program(settings: Settings) -> Program:
    """How the server is started.

    `mlflow server` imports everything twice, in its own process and in the worker's, before it answers
    (8 s where this takes 4); so its application is run directly, with the variables that command would pass.
    """
    artifacts = settings.var / "mlartifacts"
    return Program(
        name=NAME,
        command=(
            *(sys.executable, "-m", "uvicorn", "--factory", APPLICATION, "--app-dir", str(settings.checkout)),
            *("--host", "127.0.0.1", "--port", str(settings.mlflow_port), "--no-access-log"),
        ),
        cwd=settings.var,
        env={
            **settings.variables(),
            "FLIGHTLINE_MLFLOW_URL": "",  # the guard asks this very server
            "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{settings.mlflow_database}",
            "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(artifacts),
            "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # twelve processes that nothing here uses
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "true",
            # The relay is on loopback, which MLflow calls private and refuses otherwise.
            "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
            "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
            "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": shared_secret(
                settings.keys, STORE_KEY, Fernet.generate_key
            ),
            "MLFLOW_WEBHOOK_CACHE_TTL": "1",  # seconds for which it may not know of a new webhook
            "MLFLOW_WEBHOOK_REQUEST_TIMEOUT": "5",
        },
        port=settings.mlflow_port,
        port_variable=MLFLOW_PORT_VARIABLE,
        # Not /health, which answers before there is a database: this makes it, and one caller does so once.
        ready_path="/api/2.0/mlflow/registered-models/search",
    )


def ensure(settings: Settings, say: Say = print) -> str:
    """Start the server unless it runs, or check the one that `MLFLOW_TRACKING_URI` names; its address.

    Raises:
        FlightlineError: its port is taken, it did not start, or the named server does not answer.
    """
    if settings.owns_tracking:
        settings.var.mkdir(parents=True, exist_ok=True)
        start_all([program(settings)], settings.processes, settings.logs, say)
    else:
        require_up(settings)
    return settings.tracking_uri


def stop(settings: Settings) -> bool:
    """Stop the server if it is ours and runs."""
    return settings.owns_tracking and stop_process(settings.processes, NAME)


def require_up(settings: Settings) -> None:
    """Find out in seconds what MLflow's own client finds out in minutes.

    Raises:
        NoAnswerError: MLflow does not answer, or the one that does was not started from here.
    """
    if not _answers(settings):
        remedy = "Start it with `make up`" if settings.owns_tracking else "Correct MLFLOW_TRACKING_URI"
        raise NoAnswerError(f"MLflow does not answer at {settings.tracking_uri}", "a running server", remedy)
    if not _is_ours(settings):
        raise NoAnswerError(
            f"what answers at {settings.tracking_uri} was not started from here",
            f"the MLflow of {settings.var}",
            f"Choose another {MLFLOW_PORT_VARIABLE}, or set MLFLOW_TRACKING_URI to mean that one",
        )


def _is_ours(settings: Settings) -> bool:
    return not settings.owns_tracking or find(settings.processes, NAME) is not None


def _answers(settings: Settings) -> bool:
    try:
        # A proxy may be needed to reach another machine, and is never on the way to this one.
        answer = httpx.get(
            f"{settings.tracking_uri}/health", timeout=PROBE_S, trust_env=not settings.owns_tracking
        )
    except httpx.TransportError:
        return False
    return answer.status_code == HTTP_OK


def experiment_link(settings: Settings, experiment_id: str) -> str:
    """The page of an experiment's runs; MLflow opens in another mode without the query."""
    return f"{settings.tracking_uri}/#/experiments/{experiment_id}/runs?workflowType=machine_learning"


def version_link(settings: Settings, model: str, version: str) -> str:
    """The page of a model's version, where a person moves the alias."""
    return f"{settings.tracking_uri}/#/models/{model}/versions/{version}"
