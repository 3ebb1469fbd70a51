"""MLflow's server with a guard: putting `champion` on what does not qualify is refused in the dialog.

The first of two layers. It hangs on names inside MLflow; the deployer verifies everything again.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

from contract.errors import ConfigError, FlightlineError
from contract.locks import exclusive
from pipelines.delivery.registry import Registry, open_registry
from pipelines.delivery.tracking_server import NoAnswerError
from pipelines.machine.settings import Settings
from pipelines.promotion import rules
from training.model import names

WAITING = 4  # requests that may wait for a decision; each holds one of the server's 40 threads
WAIT_S = 20.0  # for another decision, which takes less than a second
_log = logging.getLogger("flightline.guard")

View = Callable[[], Any]
Judge = Callable[[Any, Registry, Settings], None]


class BusyError(FlightlineError):
    """Too much is being decided at this moment; nothing is known about the version."""


def create_app() -> Any:
    """MLflow's application, guarded: for `uvicorn --factory`, and `mlflow server --app-name flightline`.

    Raises:
        FlightlineError: this MLflow is not one that can be guarded, or a variable has no usable value.
    """
    # `mlflow server` puts its database into MLFLOW_TRACKING_URI: that is not where it is asked.
    address = os.environ.get("FLIGHTLINE_MLFLOW_URL", "")
    settings = Settings.from_environment({**os.environ, "MLFLOW_TRACKING_URI": address})
    from mlflow.server import app as flask_app

    guard(flask_app, settings)
    # `mlflow server` says what it runs; these two serve WSGI applications only.
    if os.environ.get("_MLFLOW_SGI_NAME") in {"gunicorn", "waitress"}:
        return flask_app
    from mlflow.server.fastapi_app import app

    return app  # it has `flask_app` mounted, and answers itself only what is no registry call


def guard(flask_app: Any, settings: Settings) -> None:
    """Put a judgement before each handler that could bring a version to production or take it away.

    All other requests do not pass here at all.

    Raises:
        ConfigError: a handler is missing; a server that cannot be guarded must not start.
    """
    slots = threading.BoundedSemaphore(WAITING)
    for endpoint, (message, judge) in _judged().items():
        original = flask_app.view_functions.get(endpoint)
        if original is None:
            raise ConfigError(
                f"this MLflow has no handler {endpoint}",
                "the version that uv.lock names",
                "Run `make setup`, or adapt pipelines/promotion/guard.py",
            )
        flask_app.view_functions[endpoint] = _guarded(original, message, judge, settings, slots)


def _judged() -> dict[str, tuple[Any, Judge]]:
    """MLflow's handlers by name, each with the type of its message and who judges it."""
    from mlflow.protos import model_registry_pb2 as pb

    return {
        "_set_registered_model_alias": (pb.SetRegisteredModelAlias, _move),
        "_delete_registered_model_alias": (pb.DeleteRegisteredModelAlias, _removal),
        "_create_model_version": (pb.CreateModelVersion, _copy),
        "_delete_model_version": (pb.DeleteModelVersion, _version_deletion),
        "_delete_registered_model": (pb.DeleteRegisteredModel, _model_deletion),
        "_rename_registered_model": (pb.RenameRegisteredModel, _model_deletion),
    }


def _guarded(
    original: View, message: Any, judge: Judge, settings: Settings, slots: threading.BoundedSemaphore
) -> View:
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, TEMPORARILY_UNAVAILABLE
    from mlflow.server import handlers

    read: Any = handlers._get_request_message  # noqa: SLF001 - no public reader reads as the handlers do
    explained: Any = handlers.catch_mlflow_exception  # makes the answer whose `message` the dialog shows

    @contextmanager
    def refusing() -> Iterator[None]:
        try:
            yield
        except (NoAnswerError, BusyError) as error:
            raise MlflowException(f"Nothing was changed: {error}", TEMPORARILY_UNAVAILABLE) from error
        except FlightlineError as error:
            raise MlflowException(f"Nothing was changed: {error}", INVALID_PARAMETER_VALUE) from error
        except Exception as error:
            _log.exception("a promotion could not be judged")
            raise MlflowException(
                f"Nothing was changed: this could not be judged ({type(error).__name__}: {error}); "
                "expected a verdict. Read the log of MLflow, and try again.",
                TEMPORARILY_UNAVAILABLE,
            ) from error

    @wraps(original)
    def view() -> Any:
        # Read as the handler reads it: what is judged is what will be done. What it cannot read it refuses.
        asked = read(message())
        touched = {asked.name, rules.copied(getattr(asked, "source", ""))}
        if touched.isdisjoint(names()):  # nothing that is deployed from here
            return original()
        with ExitStack() as held:
            with refusing():
                held.enter_context(_one_at_a_time(settings, slots))
                judge(asked, open_registry(settings), settings)
            return original()

    guarded: View = explained(view)
    return guarded


@contextmanager
def _one_at_a_time(settings: Settings, slots: threading.BoundedSemaphore) -> Iterator[None]:
    """Judge and act as one step, so that two clicks do not both rely on the same champion.

    Few may wait: a judgement asks this very server, which must have threads left to answer.
    """
    if not slots.acquire(blocking=False):
        raise BusyError("several promotions are being decided", "one after another", "Try again in a moment")
    try:
        with exclusive(settings.var / "guard.lock", "decision about a promotion", WAIT_S):
            yield
    finally:
        slots.release()


def _move(asked: Any, registry: Registry, settings: Settings) -> None:
    rules.check_move(registry, asked.name, asked.alias, asked.version, settings)


def _removal(asked: Any, _: Registry, settings: Settings) -> None:
    rules.check_removal(asked.name, asked.alias, settings)


def _copy(asked: Any, _: Registry, settings: Settings) -> None:
    rules.check_copy(asked.source, asked.name, settings)


def _version_deletion(asked: Any, registry: Registry, settings: Settings) -> None:
    rules.check_deletion(registry, asked.name, asked.version, settings)


def _model_deletion(asked: Any, registry: Registry, settings: Settings) -> None:
    rules.check_deletion(registry, asked.name, None, settings)
