"""GET /scores/{model}/{entity_id}: what batch scoring answered about an entity, and how old that is."""

from datetime import UTC, datetime, timedelta

from starlette.requests import Request
from starlette.responses import Response

from serving.http.bodies import RefusedError, check_entity
from serving.http.replies import known_parameters, reply
from serving.models.versions import Versions
from serving.rows import Problem
from serving.scores import Scores, StoreError


class ScorePages:
    """Look-ups of precomputed answers. A look-up takes some microseconds, so that no thread is asked."""

    def __init__(self, scores: Scores, versions: Versions) -> None:
        """Keep what is published and what answers now."""
        self._scores, self._versions = scores, versions

    async def score(self, request: Request) -> Response:
        """The answer about one entity.

        It is `superseded` where another bundle answers for its model by now, and `stale` where it is that or
        older than whoever published it said it may be.

        Raises:
            RefusedError: 404, there is none; 422, the id is too long; 503, what was published cannot be read.
        """
        known_parameters(request, set())
        model, entity = request.path_params["model"], request.path_params["entity_id"]
        check_entity(entity, "entity_id")
        try:
            found = self._scores.find(model, entity)
        except StoreError as error:
            raise RefusedError(503, str(error)) from None
        if found is None:
            problem = Problem(
                "entity_id", f"'{entity[:200]}'", f"an entity that '{model[:80]}' was scored for"
            )
            raise RefusedError(404, f"there is no score of '{model[:80]}' for '{entity[:200]}'", [problem])
        age = datetime.now(UTC) - found.scored_at
        served = self._versions.current.models.get(model)
        superseded = served is not None and served.predictor.bundle.digest != found.digest
        old = found.fresh_hours is not None and age > timedelta(hours=found.fresh_hours)
        return reply(
            {
                "prediction": found.label,
                "scores": found.scores,
                "model": model,
                "version": found.version,
                "digest": found.digest,
                "entity_id": entity,
                "scored_at": found.scored_at,
                "age_seconds": max(0.0, age.total_seconds()),
                "superseded": superseded,
                "stale": superseded or old,
                "request_id": request.state.id,
            },
            headers={"X-Model": model, "X-Model-Version": found.version, "X-Model-Digest": found.digest},
        )
