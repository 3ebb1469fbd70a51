"""What can be asked about the service itself: its models, its state, its documentation."""

import importlib.util
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from serving.features.completion import Completer
from serving.http import openapi
from serving.http.replies import chosen, known_parameters, model_headers, not_yet, once, reply
from serving.models.desired import ALL
from serving.models.versions import ServedModel, Versions
from serving.recording.prediction_log import PredictionLog
from serving.settings import Settings

# Shows the document without any other host: BentoML's own page loads a tag manager from one.
DOCS = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Flightline</title>
<link rel="icon" href="/static_content/favicon-light-32x32.png">
<link rel="stylesheet" href="/static_content/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/static_content/swagger-ui-bundle.js"></script>
<script>SwaggerUIBundle({url: "/openapi.json", dom_id: "#swagger-ui", validatorUrl: null});</script>
</body>
</html>
"""


class Pages:
    """The endpoints that only read."""

    def __init__(
        self,
        settings: Settings,
        versions: Versions,
        log: PredictionLog,
        completer: Completer | None = None,
    ) -> None:
        """Keep what they read."""
        self._settings, self._versions, self._log = settings, versions, log
        self._completer = completer

    async def models(self, request: Request) -> Response:  # noqa: ARG002 - an endpoint's signature
        """The models that answer, and what there is to know about each."""
        snapshot = self._versions.current
        return reply(
            {
                "default": snapshot.default,
                "models": {
                    name: {
                        "version": served.predictor.version,
                        "digest": served.predictor.bundle.digest,
                        "contract": served.predictor.contract.fingerprint,
                        "as_of": served.predictor.bundle.environment.as_of,
                        "skew": served.predictor.skew,
                        "loaded_at": served.loaded_at,
                        "routes": served.predictor.contract.routes,
                        **traffic(snapshot.loaded[name]),
                    }
                    for name, served in sorted(snapshot.models.items())
                },
            }
        )

    async def contract(self, request: Request) -> Response:
        """The contract of one model."""
        known_parameters(request, {"version"})
        snapshot, name = self._versions.current, request.path_params["name"]
        if not snapshot.models:
            raise not_yet(self._versions.reason)
        version = once(request, "version")
        if version is None and name in snapshot.models:
            served = snapshot.models[name]  # the default's, whatever the split
        else:
            served = chosen(snapshot, name, version, request.state.id)
        return reply(served.predictor.contract, headers=model_headers(served))

    async def status(self, request: Request) -> Response:  # noqa: ARG002 - every endpoint is given it
        """What is served and refused and why, for who deploys and who is called at night."""
        snapshot = self._versions.current
        return reply(
            {
                "ready": self._versions.ready,
                "reason": self._versions.reason,
                "generation": snapshot.generation,
                "default": snapshot.default,
                "versions": {
                    name: {
                        version: served.predictor.bundle.digest for version, served in model.versions.items()
                    }
                    for name, model in snapshot.loaded.items()
                },
                "served": {name: served.predictor.bundle.digest for name, served in snapshot.models.items()},
                "refused": dict(snapshot.refused),
                "clock": self._settings.clock,
                "worker": self._versions.worker,
                "prediction_log": self._log.summary(),
                "online_store": await self._online_store(),
            }
        )

    async def _online_store(self) -> dict[str, Any] | None:
        """What was completed and what the store holds; None where there is no store."""
        return None if self._completer is None else await run_in_threadpool(self._completer.summary)

    async def openapi(self, request: Request) -> Response:  # noqa: ARG002 - every endpoint is given it
        """The OpenAPI document of what is loaded now."""
        return reply(openapi.document(self._versions.current, self._settings.clock))

    async def docs(self, request: Request) -> Response:  # noqa: ARG002 - every endpoint is given it
        """Swagger UI over that document."""
        return HTMLResponse(DOCS)

    async def index(self, request: Request) -> Response:  # noqa: ARG002 - every endpoint is given it
        """The way to the documentation."""
        return RedirectResponse("/docs")


def traffic(model: ServedModel) -> dict[str, object]:
    """The versions of a model that are loaded, and which requests come to them."""
    shares: dict[str, float] = {}
    reached = 0.0
    for end, served in model.split or ((ALL, model.default),):
        shares[served.version], reached = round(end - reached, 6), end
    return {
        "versions": {version: served.predictor.bundle.digest for version, served in model.versions.items()},
        "split": shares,
        "mirror": {served.version: share for share, served in model.mirror},
    }


def static_content() -> Path:
    """Swagger UI as BentoML ships it; found without importing BentoML, which takes a second."""
    spec = importlib.util.find_spec("bentoml")
    if spec is None or spec.origin is None:
        raise RuntimeError("bentoml is not installed")
    return Path(spec.origin).parent / "_internal" / "server" / "static_content"
