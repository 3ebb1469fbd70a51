"""The HTTP surface: predictions, and everything a caller or an operator may ask about the models."""

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, TypeAlias

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from contract.schema import Contract
from serving.features.completion import Completer
from serving.http import bodies, openapi
from serving.http.admission import Admission, OverloadedError
from serving.http.answers import Answerer, Call
from serving.http.batch_bodies import BatchBody, batch_rows
from serving.http.bodies import RefusedError
from serving.http.completing import Completing
from serving.http.events import Events
from serving.http.limits import Limits
from serving.http.pages import Pages, static_content
from serving.http.replies import chosen, known_parameters, model_headers, not_yet, once, reply, too_much
from serving.http.scores import ScorePages
from serving.http.v2 import V2
from serving.models.versions import Served, Versions
from serving.protocol.inference import Inferring
from serving.recording.metrics import Metrics
from serving.recording.prediction_log import PredictionLog
from serving.rows import Problem, RowsRefusedError, decode_rows
from serving.scores import Scores
from serving.settings import Settings
from serving.tracing import note_rows

BENTOMLS = ("/livez", "/healthz", "/readyz", "/metrics", "/schema.json")  # it answers GET of these itself

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]


def build_app(
    settings: Settings,
    versions: Versions,
    log: PredictionLog,
    metrics: Metrics,
    completer: Completer | None = None,
    *,
    admission: Admission | None = None,
    ready: Callable[[], bool] | None = None,
) -> Starlette:
    """The ASGI application over the models that `versions` keeps.

    Without a `completer` a row must bring every feature that may not be null, and no events are taken.
    `admission` bounds what it takes at once; `ready` says more than `versions` knows, such as a near end.
    """
    limits = Limits()
    admission = admission or Admission(limits.requests, limits.rows)
    api = _Api(settings, versions, log, metrics, completer, admission=admission)
    pages = Pages(settings, versions, log, completer)
    events = Events(versions, completer, admission)
    scores = ScorePages(Scores(settings.scores), versions)
    claimed = Route("/predict/{rest:path}", api.guarded(api.predict_claimed))
    claimed.methods = None  # of all methods: whether there is such a route is known only inside
    app = Starlette(
        routes=[
            *V2(versions, api.inferring(), ready).routes(api.guarded),
            Route("/predict", api.guarded(api.predict), methods=["POST"]),
            Route("/predict_batch", api.guarded(api.predict_batch), methods=["POST"]),
            Route("/events", api.guarded(events.post), methods=["POST"]),
            claimed,
            Route("/scores/{model}/{entity_id:path}", api.guarded(scores.score), methods=["GET"]),
            Route("/models", api.guarded(pages.models), methods=["GET"]),
            Route("/models/{name}/contract", api.guarded(pages.contract), methods=["GET"]),
            Route("/status", api.guarded(pages.status), methods=["GET"]),
            Route("/openapi.json", api.guarded(pages.openapi), methods=["GET"]),
            Route("/docs", api.guarded(pages.docs), methods=["GET"]),
            Route("/", api.guarded(pages.index), methods=["GET"]),
            *(Route(path, api.elsewhere, methods=["GET"]) for path in BENTOMLS),
            Mount("/static_content", StaticFiles(directory=static_content())),
        ],
        exception_handlers={HTTPException: api.http_error, Exception: api.crash},
    )
    # A redirect would send a body's sender to whatever host the request claims to be for.
    app.router.redirect_slashes = False
    return app


class _Api:
    """The endpoints. Each reads the current snapshot once, so that a swap never shows inside a request."""

    def __init__(
        self,
        settings: Settings,
        versions: Versions,
        log: PredictionLog,
        metrics: Metrics,
        completer: Completer | None,
        *,
        admission: Admission,
    ) -> None:
        self._admission = admission
        self._settings, self._versions, self._log, self._metrics = settings, versions, log, metrics
        self._completing = Completing(completer, metrics)
        self.answerer = Answerer(log, metrics)

    def inferring(self) -> Inferring:
        """What answers in the protocol V2, by the same rules."""
        return Inferring(self.answerer, self._completing, self._admission, self._settings.clock)

    def guarded(self, endpoint: Endpoint) -> Endpoint:
        """`endpoint`, with a request id on its answer and every refusal turned into an object."""

        async def call(request: Request) -> Response:
            request.state.id = bodies.request_id(request)
            if not request.scope[
                "path"
            ].isprintable():  # a route's pattern matches before a last line feed, too
                raise HTTPException(404)
            try:
                response = await endpoint(request)
            except RefusedError as error:
                response = self._refusal(error)
            except RowsRefusedError as error:
                count = len(error.problems)
                sentence = f"{count} problem{'s' * (count > 1)} with the input"
                response = self._refusal(RefusedError(422, sentence, error.problems))
            except OverloadedError:
                await self._admission.turn()
                response = self._refusal(too_much())
            response.headers["X-Request-Id"] = request.state.id
            return response

        return call

    async def predict(self, request: Request) -> Response:
        began = time.perf_counter()
        served = self._choose(request)
        body = await bodies.read_body(request, bodies.PredictBody, bodies.SINGLE_BYTES)
        now = datetime.now(UTC)
        entity = bodies.check_entity(body.id, "id")
        moment = bodies.check_moment(body.at, "at", self._settings.clock, now)
        contract = served.predictor.contract
        whole = await self._completing.whole(contract, [body.row], [body.keys], [moment], "row")
        rows = decode_rows(contract, whole.rows, "row")
        note_rows(request.scope, 1)
        call = Call(request.state.id, began, now, [entity], [moment], whole.keys, whole.filled)
        labels, scores = await self.answerer.answer(served.predictor, rows, call)
        classes = served.predictor.contract.classes
        return _predicted(
            request,
            served,
            {"prediction": labels[0], "scores": dict(zip(classes, scores[0], strict=True))},
        )

    async def predict_batch(self, request: Request) -> Response:
        began = time.perf_counter()
        served = self._choose(request)
        body = await bodies.read_body(request, BatchBody, bodies.BATCH_BYTES)
        now = datetime.now(UTC)
        sent = batch_rows(body)
        entities = [bodies.check_entity(value, f"ids[{i}]") for i, value in enumerate(body.ids or [])]
        moments = [
            bodies.check_moment(value, f"at[{i}]", self._settings.clock, now)
            for i, value in enumerate(body.at or [])
        ]
        count = len(sent)
        when = moments or [now] * count
        ids = entities or [None] * count
        with self._admission.batch(count):  # what the hot path gave back, it counts no more
            whole = await self._completing.whole(served.predictor.contract, sent, body.keys, when)
            rows = decode_rows(served.predictor.contract, whole.rows)
            note_rows(request.scope, count)
            call = Call(request.state.id, began, now, ids, when, whole.keys, whole.filled)
            labels, scores = await self.answerer.answer(served.predictor, rows, call)
        classes = list(served.predictor.contract.classes)
        return _predicted(request, served, {"predictions": labels, "scores": scores, "classes": classes})

    async def predict_claimed(self, request: Request) -> Response:
        """A route that a loaded contract claims: one row, values in the order of declaration.

        What the online store has may be left out, all of it: the row is then as long as what is left.
        """
        began = time.perf_counter()
        snapshot = self._versions.current
        name = snapshot.routes.get(request.url.path)
        if not snapshot.models:
            raise not_yet(self._versions.reason)  # which routes there are is known by contracts alone
        if name is None:
            raise HTTPException(404)
        if request.method != "POST":
            raise HTTPException(405, headers={"Allow": "POST"})
        known_parameters(request, set())
        served = chosen(snapshot, name, None, request.state.id)
        body = await bodies.read_body(request, bodies.DataBody, bodies.SINGLE_BYTES)
        now = datetime.now(UTC)
        entity = bodies.check_entity(body.id, "id")
        moment = bodies.check_moment(body.at, "at", self._settings.clock, now)
        contract = served.predictor.contract
        row = _in_order(contract, body.data)
        whole = await self._completing.whole(contract, [row], [body.keys], [moment], "row")
        rows = decode_rows(contract, whole.rows, "row")
        note_rows(request.scope, 1)
        call = Call(request.state.id, began, now, [entity], [moment], whole.keys, whole.filled)
        labels, _ = await self.answerer.answer(served.predictor, rows, call)
        return reply({"prediction": labels[0]}, headers=model_headers(served))

    async def elsewhere(self, request: Request) -> Response:  # noqa: ARG002 - an endpoint's signature
        """Only another method of a path that BentoML answers comes here, and gets its 405."""
        raise HTTPException(404)

    async def http_error(self, request: Request, error: Exception) -> Response:
        """404 and 405 as objects."""
        status, headers = (
            (error.status_code, error.headers) if isinstance(error, HTTPException) else (500, None)
        )
        paths = sorted({*openapi.document(self._versions.current)["paths"], "/docs", "/openapi.json"})
        path, known = request.url.path[:200], f"one of {', '.join(paths)}"
        allowed = (headers or {}).get("Allow", "another method")
        sentence, problem = {
            404: (f"there is no {path}; expected {known}", Problem("path", path, known)),
            405: (f"{request.method} is not a method of {path}", Problem("method", request.method, allowed)),
        }.get(status, ("the request cannot be answered", Problem("request", "it as it is", "another one")))
        response = self._refusal(RefusedError(status, sentence, [problem]))
        response.headers.update({"X-Request-Id": bodies.request_id(request), **(headers or {})})
        return response

    async def crash(self, request: Request, error: Exception) -> Response:  # noqa: ARG002 - every endpoint is given it
        """A defect of ours: the server logs it, the caller learns no internals."""
        response = self._refusal(RefusedError(500, "the service failed to answer; its log says why"))
        response.headers["X-Request-Id"] = bodies.request_id(request)
        return response

    def _choose(self, request: Request) -> Served:
        """The model and version a request names; else the default model, by its split."""
        known_parameters(request, {"model", "version"})
        snapshot = self._versions.current
        asked, version = once(request, "model"), once(request, "version")
        name = snapshot.default if asked is None else asked
        if not snapshot.models or (asked is None and not name):
            raise not_yet(self._versions.reason)
        return chosen(snapshot, name, version, request.state.id)

    def _refusal(self, error: RefusedError) -> Response:
        self._metrics.refused(error.status)
        return reply({"error": error.error, "problems": error.problems}, error.status, error.headers)


def _in_order(contract: Contract, data: list[Any]) -> dict[str, Any]:
    """The one row of a claimed route: a value for every feature, or for those that only a caller knows.

    Raises:
        RefusedError: 422.
    """
    orders = [[f.name for f in contract.features], [f.name for f in contract.features if not f.stored]]
    row = data[0] if len(data) == 1 and isinstance(data[0], list) else None
    for names in orders:
        if row is not None and len(row) == len(names):
            return dict(zip(names, row, strict=True))
    described = [f"{len(names)} values: {', '.join(names)}" for names in orders]
    expected = f"one row of {' or '.join(dict.fromkeys(described))}"
    found = f"{len(data)} rows"
    if row is not None:
        found = f"a row of {len(row)} value{'s' * (len(row) != 1)}"
    elif not all(isinstance(item, list) for item in data):
        found = "a value without a row around it"
    raise RefusedError(422, f"'data' holds {found}; expected {expected}", [Problem("data", found, expected)])


def _predicted(request: Request, served: Served, answer: dict[str, Any]) -> Response:
    bundle = served.predictor.bundle
    identity = {"model": bundle.model, "version": served.predictor.version, "digest": bundle.digest}
    return reply({**answer, **identity, "request_id": request.state.id}, headers=model_headers(served))
