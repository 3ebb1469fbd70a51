"""A table's answers are those that the service gives to the same rows over HTTP, to the last bit."""

import polars as pl
import pytest

from contract.attestation import read_trust
from pipelines.scoring.batches import Order, score_all
from pipelines.scoring.inputs import find_inputs
from pipelines.scoring.publishing import publish
from serving.models.predictor import Predictor
from tests.pipelines.scoring.conftest import rows
from tests.serving.processes import started

COUNT = 1_000


@pytest.fixture(scope="module")
def service(tmp_path_factory, build_release):
    """A service as it really runs."""
    yield from started(tmp_path_factory.mktemp("service"), build_release, ["serving"])


@pytest.fixture(scope="module")
def scored(service, tmp_path_factory):
    """The table's answers by the service's own release, published where the service looks them up."""
    folder = tmp_path_factory.mktemp("scored")
    rows(COUNT).write_parquet(folder / "in.parquet")
    release = service.releases[0]
    predictor = Predictor.load(release.path, release.digest, "1", read_trust(release.trust_file))
    order = Order(folder / "out", None, "id", 2)
    (found,) = score_all(find_inputs(str(folder / "in.parquet")), order, predictor, lambda _: None)
    assert found.scored == COUNT
    publish(folder / "out", predictor.contract, service.folder / "state" / "scores")
    return pl.read_parquet(found.output)


def lines(scored):
    """Label and scores of each row."""
    return [(label, tuple(scores)) for label, *scores in scored.drop("row", "entity_id").iter_rows()]


def test_a_table_is_answered_as_a_batch_request_is(service, scored):
    """A thousand rows in one request, equal floats."""
    sent = rows(COUNT).drop("id").to_dicts()
    body = service.client.post("/predict_batch", json={"rows": sent}).json()
    answers = zip(body["predictions"], map(tuple, body["scores"]), strict=True)
    assert lines(scored) == list(answers)


def test_a_table_is_answered_as_single_requests_are(service, scored):
    """One row a request, equal floats."""
    for number, row in enumerate(rows(40).drop("id").to_dicts()):
        body = service.client.post("/predict", json={"row": row}).json()
        assert (body["prediction"], tuple(body["scores"].values())) == lines(scored)[number]


def test_published_answers_are_looked_up_over_http(service, scored):
    """The same floats once more, with the digest that the service serves."""
    for number in (0, 7, COUNT - 1):
        body = service.client.get(f"/scores/toy/flight/{number}").json()
        assert (body["prediction"], tuple(body["scores"].values())) == lines(scored)[number]
        assert (body["digest"], body["stale"]) == (service.releases[0].digest, False)
    assert service.client.get(f"/scores/toy/flight/{COUNT}").status_code == 404
