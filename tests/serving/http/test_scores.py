"""GET /scores: precomputed answers by entity, with who gave them and how old they are."""

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from contract.scores import TABLES

pytestmark = pytest.mark.unit

NOW = datetime.now(UTC)


def publish(host, digest, *, label="low", age=timedelta(), fresh_hours=None, name="toy"):
    """Put one answer about `2013-01-01/UA/1` into the service's folder, in one step."""
    folder = host.settings.scores
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / ".made"
    with closing(sqlite3.connect(made)) as store:
        store.executescript(TABLES)
        about = ("toy", "3", digest, '["low", "middle", "high"]', NOW.isoformat(), fresh_hours)
        store.execute("INSERT INTO about VALUES (?, ?, ?, ?, ?, ?)", about)
        row = ("2013-01-01/UA/1", label, json.dumps([0.5, 0.25, 0.25]), (NOW - age).isoformat())
        store.execute("INSERT INTO scores VALUES (?, ?, ?, ?)", row)
        store.commit()
    made.replace(folder / f"{name}.sqlite")


@pytest.fixture
def digest(host):
    """The bundle that answers now."""
    return host.versions.current.models["toy"].predictor.bundle.digest


def test_a_score_is_found_by_its_entity(host, digest) -> None:
    """An id may hold slashes; the answer has the form of a prediction, and its age."""
    publish(host, digest, age=timedelta(hours=2))
    answer = host.client.get("/scores/toy/2013-01-01/UA/1")
    body = answer.json()
    assert answer.status_code == 200
    assert body["prediction"] == "low"
    assert body["scores"] == {"low": 0.5, "middle": 0.25, "high": 0.25}
    assert (body["model"], body["version"], body["digest"]) == ("toy", "3", digest)
    assert body["entity_id"] == "2013-01-01/UA/1"
    now = (datetime.now(UTC) - NOW).total_seconds()
    assert 7200 <= body["age_seconds"] <= 7200 + now
    assert datetime.fromisoformat(body["scored_at"]) == NOW - timedelta(hours=2)
    assert (body["superseded"], body["stale"]) == (False, False)
    assert answer.headers["X-Request-Id"] == body["request_id"]


@pytest.mark.parametrize(("hours", "fresh", "stale"), [(2, 3, False), (2, 1, True), (2, None, False)])
def test_an_old_score_is_called_stale(host, digest, hours, fresh, stale) -> None:
    """By the limit that it was published with; it is answered all the same."""
    publish(host, digest, age=timedelta(hours=hours), fresh_hours=fresh)
    assert host.client.get("/scores/toy/2013-01-01/UA/1").json()["stale"] is stale


def test_a_score_of_another_bundle_is_superseded(host) -> None:
    """The service would answer otherwise by now."""
    publish(host, "0" * 64)
    body = host.client.get("/scores/toy/2013-01-01/UA/1").json()
    assert (body["superseded"], body["stale"]) == (True, True)


@pytest.mark.parametrize(
    "path", ["/scores/toy/nobody", "/scores/other/x", "/scores/..%2fx/y", "/scores/%00/x"]
)
def test_what_is_not_there_is_a_404_with_a_sentence(host, digest, path) -> None:
    """An unknown entity, an unknown model, and a name that is no name."""
    publish(host, digest)
    answer = host.client.get(path)
    assert answer.status_code == 404
    assert isinstance(answer.json()["error"], str)


def test_nothing_published_is_a_404(host) -> None:
    """There need not be any scores at all."""
    assert host.client.get("/scores/toy/x").status_code == 404


def test_a_new_publication_is_seen_at_once(host, digest) -> None:
    """The next look-up reads the file that is there then."""
    publish(host, digest)
    assert host.client.get("/scores/toy/2013-01-01/UA/1").json()["prediction"] == "low"
    publish(host, digest, label="high")
    assert host.client.get("/scores/toy/2013-01-01/UA/1").json()["prediction"] == "high"
    (host.settings.scores / "toy.sqlite").unlink()
    assert host.client.get("/scores/toy/2013-01-01/UA/1").status_code == 404


@pytest.mark.parametrize("data", [b"", b"not a database" * 100])
def test_a_file_that_was_not_published_is_a_503(host, digest, data) -> None:
    """With a sentence; a sound one is read as soon as it is there."""
    publish(host, digest)
    (host.settings.scores / "toy.sqlite").write_bytes(data)
    answer = host.client.get("/scores/toy/2013-01-01/UA/1")
    assert answer.status_code == 503
    assert "cannot be read" in answer.json()["error"]
    publish(host, digest)
    assert host.client.get("/scores/toy/2013-01-01/UA/1").status_code == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/scores/toy/", 422),
        ("/scores/toy/" + "x" * 201, 422),
        ("/scores/toy/x?verson=1", 422),
    ],
)
def test_a_bad_question_is_refused_with_an_object(host, path, status) -> None:
    """Too short, too long, misspelt."""
    answer = host.client.get(path)
    assert answer.status_code == status
    assert answer.json()["error"]


def test_the_route_is_documented(host) -> None:
    """With what it may answer."""
    paths = host.client.get("/openapi.json").json()["paths"]
    assert set(paths["/scores/{model}/{entity_id}"]["get"]["responses"]) == {"200", "404", "422", "503"}
