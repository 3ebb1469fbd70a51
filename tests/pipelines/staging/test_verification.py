"""C7: the month that both sides score must be answered alike, row by row."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import msgspec
import polars as pl
import pytest

from pipelines import replay
from pipelines.building.config import params
from pipelines.staging import verification
from pipelines.staging.checks import ENTITY, Found
from pipelines.staging.past import FIRST, Past, last_month, the_past
from pipelines.staging.verification import verify
from tests.pipelines.scoring.conftest import rows
from tests.pipelines.staging.conftest import Service, changed
from training import model as models

UNTIL = datetime(2013, 1, 1, tzinfo=UTC)
PAST = Past("rows", rows(250).drop("id"))


@pytest.fixture(autouse=True)
def small_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several requests for few rows."""
    monkeypatch.setattr(verification, "BATCH", 100)


@pytest.mark.unit
def test_an_honest_service_answers_as_the_batch_scorer_does(service: Service, tmp_path: Path) -> None:
    """To the last bit, in as many requests as it takes, each row marked as nobody's."""
    bodies: list[bytes] = []

    def listening(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        bodies.append(request.content)
        return response

    service.spoil = listening
    told: list[tuple[int, int]] = []
    with service.client as client:
        seen, measured = verify(
            client, service.predictor, PAST, tmp_path, lambda done, total: told.append((done, total))
        )
    assert seen == "250 rows scored alike over HTTP and in batch, within 0"
    assert measured == {"rows": 250.0, "refused": 0.0, "largest_difference": 0.0}
    assert told == [(100, 250), (200, 250), (250, 250)]
    sent = [msgspec.json.decode(body) for body in bodies]
    assert [len(body["rows"]) for body in sent] == [100, 100, 50]
    assert {name for body in sent for name in body["ids"]} == {ENTITY}


def last_row(key: str, value: object) -> object:
    """A change of one row's label or scores in the last request."""

    def spoil(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        body = response.json()
        if request.url.path != "/predict_batch" or len(body["predictions"]) != 50:
            return response
        return changed(response, lambda found: found[key].__setitem__(7, value))

    return spoil


@pytest.mark.unit
@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("predictions", "another", "row 207 is 'another' over HTTP"),
        ("scores", [0.9, 0.9, 0.9], "row 207 is .* scores 0"),
        ("scores", [float("nan")] * 3, "row 207 is .* scores nan apart"),
    ],
)
def test_one_row_that_is_answered_otherwise_fails(
    service: Service, tmp_path: Path, key: str, value: object, sentence: str
) -> None:
    """One of two hundred and fifty is enough, and it is named."""
    service.spoil = last_row(key, value)  # type: ignore[assignment]
    with service.client as client, pytest.raises(Found, match=sentence) as found:
        verify(client, service.predictor, PAST, tmp_path)
    assert "1 of 50 rows from row 200 on differ" in str(found.value)


@pytest.mark.unit
def test_rows_that_were_swapped_among_one_another_fail(service: Service, tmp_path: Path) -> None:
    """Right answers to the wrong rows: as many, and as probable as ever."""

    def swap(body: dict[str, list[object]]) -> None:
        for key in ("predictions", "scores"):
            body[key].reverse()

    service.spoil = lambda _, response: changed(response, swap)
    with service.client as client, pytest.raises(Found, match="of 100 rows from row 0 on differ"):
        verify(client, service.predictor, PAST, tmp_path)


@pytest.mark.unit
def test_an_answer_too_few_fails(service: Service, tmp_path: Path) -> None:
    """A row without an answer is no row that agrees."""
    service.spoil = lambda _, response: changed(response, lambda body: body["predictions"].pop())
    with service.client as client, pytest.raises(Found, match="99 answers to 100 rows from row 0 on"):
        verify(client, service.predictor, PAST, tmp_path)


@pytest.mark.unit
def test_a_service_of_another_bundle_fails(service: Service, tmp_path: Path) -> None:
    """Equal classes and equal rows are not enough."""
    service.spoil = lambda _, response: changed(response, lambda body: body.update(digest="f" * 64))
    with service.client as client, pytest.raises(Found, match="of bundle ffffffffffff answered"):
        verify(client, service.predictor, PAST, tmp_path)


@pytest.mark.unit
def test_a_refused_batch_fails(service: Service, tmp_path: Path) -> None:
    """What the batch scorer accepts, the service must accept."""
    service.spoil = lambda request, _: httpx.Response(422, text="no", request=request)
    with service.client as client, pytest.raises(Found, match="422 from /predict_batch"):
        verify(client, service.predictor, PAST, tmp_path)


def with_bad_rows() -> Past:
    """The past, with two rows that the contract refuses."""
    table = PAST.rows.with_columns(
        pl.when(pl.int_range(pl.len()).is_in([3, 120])).then(-1.0).otherwise("width").alias("width")
    )
    return Past("rows", table)


@pytest.mark.unit
def test_rows_that_the_contract_refuses_are_refused_by_both(service: Service, tmp_path: Path) -> None:
    """They are left out of the batches, and asked one by one."""
    with service.client as client:
        seen, measured = verify(client, service.predictor, with_bad_rows(), tmp_path)
    assert "248 rows scored alike" in seen
    assert "2 refused by both" in seen
    assert measured["refused"] == 2.0
    assert service.asked.count("/predict") == 2


@pytest.mark.unit
def test_a_service_that_answers_what_the_batch_scorer_refuses_fails(service: Service, tmp_path: Path) -> None:
    """Accepting more is another answer, too."""

    def lenient(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        return httpx.Response(200, json={}) if request.url.path == "/predict" else response

    service.spoil = lenient
    with service.client as client, pytest.raises(Found, match="refuses is answered 200 over HTTP"):
        verify(client, service.predictor, with_bad_rows(), tmp_path)


@pytest.mark.unit
def test_a_past_of_refused_rows_alone_proves_nothing(service: Service, tmp_path: Path) -> None:
    """No row was compared, so nothing passed."""
    past = Past("rows", PAST.rows.with_columns(pl.lit(-1.0).alias("width")))
    with service.client as client, pytest.raises(Found, match="refuses all of 250 rows"):
        verify(client, service.predictor, past, tmp_path)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("until", "month"),
    [
        ("2013-04-01T00:00:00+00:00", 3),
        ("2013-04-15T00:00:00+00:00", 3),
        ("2013-04-30T23:59:59+00:00", 3),
        ("2013-01-01T00:00:00+00:00", 12),
        ("2013-05-01T01:00:00+02:00", 3),  # the last hour of April in UTC
    ],
)
def test_the_last_month_is_the_last_that_was_over(until: str, month: int) -> None:
    """A month under way has rows whose past is not there yet."""
    start, end = last_month(datetime.fromisoformat(until))
    assert (start.day, start.month, end.day) == (1, month, 1)
    assert end <= datetime.fromisoformat(until)
    assert start.tzinfo == end.tzinfo == UTC


@pytest.mark.unit
def test_a_model_without_months_is_verified_with_all_its_rows(service: Service) -> None:
    """Flowers have no month: all 150, of which the held-out ones are a part; or every fourth."""
    bundle = replace(service.bundle, contract=models.load("iris").contract)
    past = the_past(bundle, 150)
    assert (past.what, past.rows.height) == ("rows, all there are", 150)
    assert past.rows.columns == [feature.name for feature in bundle.contract.features]
    assert the_past(bundle, 40).rows.height == 38  # 150 / 4, rounded up


def test_a_model_with_months_is_verified_with_the_last_one(service: Service) -> None:
    """What departed in March, with its features as they were known then, when April begins."""
    bundle = replace(service.bundle, contract=models.load("flights").contract)
    past = the_past(bundle, 1_000)
    assert past.what == "rows of March 2013"
    assert 500 < past.rows.height <= 1_000
    assert past.rows.columns == [feature.name for feature in bundle.contract.features]


@pytest.mark.unit
def test_a_model_of_elsewhere_is_verified_with_its_golden_rows(service: Service) -> None:
    """This checkout knows no data of it."""
    past = the_past(service.bundle, 3)
    assert (past.what, past.rows.to_dicts()) == (
        "golden rows",
        [dict(item.row) for item in service.bundle.golden.rows[:3]],
    )


def test_a_period_that_is_asked_for_again_is_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal rows from one reading; other source data, or another definition of the model, are read anew."""
    read: list[object] = []
    sources = replay.read_sources
    monkeypatch.setattr(replay, "read_sources", lambda given: read.append(given) or sources(given))
    replay._moments.cache_clear()
    first, again = (replay.moments("iris", FIRST, UNTIL) for _ in range(2))
    assert len(read) == 1
    assert first.equals(again)
    known = models.load("iris")
    monkeypatch.setattr(models, "load", lambda _: replace(known))
    replay.moments("iris", FIRST, UNTIL)
    assert len(read) == 2
    given = params("iris")
    other = msgspec.structs.replace(
        given.ingest, files={**given.ingest.files, "more": given.ingest.files["iris"]}
    )
    monkeypatch.setattr(replay, "params", lambda _: msgspec.structs.replace(given, ingest=other))
    replay.moments("iris", FIRST, UNTIL)
    assert len(read) == 3
