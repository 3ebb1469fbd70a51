"""The whole staging suite: what every environment looks at, and what only staging can afford."""

import tempfile
from functools import partial
from pathlib import Path

import httpx

from contract.attestation import read_trust
from pipelines.delivery.registry import STAGING
from pipelines.delivery.releases import Release
from pipelines.delivery.smoke import run_smoke
from pipelines.machine.processes import Say
from pipelines.machine.progress import step
from pipelines.machine.settings import Settings
from pipelines.staging.checks import Check, Look, Seen, checked
from pipelines.staging.examples import examples
from pipelines.staging.load import load
from pipelines.staging.past import the_past
from pipelines.staging.policy import staging_policy
from pipelines.staging.verification import verify
from serving.models.predictor import Predictor

TIMEOUT_S = 10.0  # of one request


def run_suite(
    url: str, release: Release, version: str, settings: Settings, say: Say = print
) -> tuple[Check, ...]:
    """Every check of `STAGING_CHECKS` against `url`, which should serve `release` as `version`.

    What is long is not begun where something short has failed; the checks that were not begun are not there.

    Raises:
        FlightlineError: the suite itself cannot be run: no policy, no source data, no echo.
    """
    bundle, policy = release.bundle, staging_policy(release.bundle.model)
    step(say, "smoke tests")
    found = list(run_smoke(url, bundle, version, settings.environment(STAGING).smoke))
    with httpx.Client(base_url=url, timeout=TIMEOUT_S, trust_env=False) as client:
        step(say, "the examples of its own document")
        found.append(checked("documented examples", partial(examples, client, bundle, version)))
        heavy: tuple[tuple[str, Look], ...] = (
            ("load", partial(load, url, bundle, policy.load, partial(step, say, "load test"))),
            ("pipeline verification", partial(_verify, client, release, version, settings, say)),
        )
        for name, look in heavy:
            if all(item.passed for item in found):
                found.append(checked(name, look))
    return tuple(found)


def _verify(client: httpx.Client, release: Release, version: str, settings: Settings, say: Say) -> Seen:
    bundle = release.bundle
    step(say, "reading the past")
    past = the_past(bundle, staging_policy(bundle.model).verification.rows)
    predictor = Predictor.load(release.path, bundle.digest, version, read_trust(settings.trust))
    with tempfile.TemporaryDirectory(prefix="flightline-") as folder:
        return verify(client, predictor, past, Path(folder), partial(step, say, "pipeline verification"))
