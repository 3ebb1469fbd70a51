"""Every way of asking badly gets a 4xx with an object that says why, and never a model's answer."""

import json

import msgspec
import numpy as np
import pytest

from serving.http.bodies import BATCH_BYTES, BATCH_ROWS, SINGLE_BYTES
from serving.models.predictor import Predictor

pytestmark = pytest.mark.unit

ROW = {"width": 1.5, "height": 0.25, "letter": "A"}
JSON = {"content-type": "application/json"}


def raw(content, headers=None, url="/predict", method="POST"):
    """A request by its parts."""
    return {"method": method, "url": url, "content": content, "headers": JSON | (headers or {})}


def body(value, url="/predict"):
    """A POST of `value` as JSON."""
    return raw(json.dumps(value), url=url)


def row(**change):
    """A prediction of the good row with a change."""
    return body({"row": ROW | change})


def without(name):
    """A prediction of the good row without one feature."""
    return body({"row": {key: value for key, value in ROW.items() if key != name}})


def batch(**change):
    """A batch of two good rows with a change."""
    return body({"rows": [ROW, ROW]} | change, url="/predict_batch")


CASES = {
    "empty body": (raw(b""), 400),
    "not json": (raw(b"row=1"), 400),
    "truncated json": (raw(b'{"row": {"width": 1'), 400),
    "trailing garbage": (raw(b'{"row": {}} x'), 400),
    "single quotes": (raw(b"{'row': {}}"), 400),
    "bad utf-8": (raw(b'{"row": {"letter": "\xff\xfe"}}'), 400),
    "lone surrogate": (raw(b'{"row": {"width": 1, "letter": "\\ud800"}}'), 400),
    "nan literal": (raw(b'{"row": {"width": NaN}}'), 400),
    "infinity literal": (raw(b'{"row": {"width": Infinity}}'), 400),
    "number beyond float64": (raw(b'{"row": {"width": 1e999}}'), 400),
    "deep nesting": (raw(b"[" * 100_000), 400),
    "body is null": (body(None), 422),
    "body is an array": (body([ROW]), 422),
    "body is a string": (body("row"), 422),
    "body without a row": (body({}), 422),
    "misspelt key": (body({"rwo": ROW}), 422),
    "extra key": (body({"row": ROW, "debug": True}), 422),
    "row is null": (body({"row": None}), 422),
    "row is an array": (body({"row": [1, 2, "A"]}), 422),
    "row is empty": (body({"row": {}}), 422),
    "thousands of unknown features": (row(**{f"widht{index}": 1 for index in range(20_000)}), 422),
    "huge unknown feature": (row(**{"x" * 1_000_000: 1}), 422),
    "huge unknown key": (body({"x" * 1_000_000: 1}), 422),
    "huge category in the wrong place": (row(width="x" * 1_000_000), 422),
    "megabyte of digits": (raw(b'{"row": {"width": ' + b"9" * 1_000_000 + b"}}"), 400),
    "a million rows": (raw(b'{"rows": [' + b"{}," * 1_000_000 + b"{}]}", url="/predict_batch"), 422),
    "huge parameter": (body({"row": ROW}, url="/predict?" + "x" * 10_000 + "=toy"), 422),
    "id is a number": (body({"row": ROW, "id": 5}), 422),
    "id is empty": (body({"row": ROW, "id": ""}), 422),
    "id is long": (body({"row": ROW, "id": "x" * 201}), 422),
    "at under wall clock": (body({"row": ROW, "at": "2013-01-01T00:00:00Z"}), 422),
    "at is a number": (body({"row": ROW, "at": 5}), 422),
    "unknown feature": (row(widht=1), 422),
    "required feature absent": (without("width"), 422),
    "required feature null": (row(width=None), 422),
    "number as string": (row(width="1.5"), 422),
    "number as boolean": (row(width=True), 422),
    "number as array": (row(width=[1.5]), 422),
    "number as object": (row(width={"value": 1.5}), 422),
    "number below its range": (row(width=-0.001), 422),
    "number above its range": (row(width=10.001), 422),
    "number beyond float32": (row(height=1e39), 422),
    "huge integer": (raw(b'{"row": {"width": ' + b"9" * 400 + b"}}"), 422),
    "category as number": (row(letter=1), 422),
    "category as boolean": (row(letter=False), 422),
    "category empty": (row(letter=""), 422),
    "category with nul": (row(letter="A\0B"), 422),
    "batch without rows": (batch(rows=[]), 422),
    "batch too long": (batch(rows=[ROW] * (BATCH_ROWS + 1)), 422),
    "batch with a bad row": (batch(rows=[ROW, {}]), 422),
    "batch with a row that is null": (batch(rows=[ROW, None]), 422),
    "batch of rows as an object": (batch(rows=ROW), 422),
    "batch with too few ids": (batch(ids=["a"]), 422),
    "batch with ids that are numbers": (batch(ids=[1, 2]), 422),
    "batch with an empty id": (batch(ids=["a", ""]), 422),
    "batch with moments under wall clock": (batch(at=["2013-01-01T00:00:00Z"] * 2), 422),
    "batch at the single route": (body({"rows": [ROW]}), 422),
    "unknown model": (body({"row": ROW}, url="/predict?model=tyo"), 404),
    "empty model": (body({"row": ROW}, url="/predict?model="), 404),
    "model twice": (body({"row": ROW}, url="/predict?model=toy&model=toy"), 422),
    "misspelt parameter": (body({"row": ROW}, url="/predict?modle=toy"), 422),
    "no content type": (raw(b"{}", {"content-type": ""}), 415),
    "text/plain": (raw(b"{}", {"content-type": "text/plain"}), 415),
    "pickle": (raw(b"{}", {"content-type": "application/vnd.bentoml+pickle"}), 415),
    "latin-1": (raw(b"{}", {"content-type": "application/json; charset=latin-1"}), 415),
    "gzip": (raw(b"{}", {"content-encoding": "gzip"}), 415),
    "large body": (raw(b" " * (SINGLE_BYTES + 1)), 413),
    "large batch": (raw(b" " * (BATCH_BYTES + 1), url="/predict_batch"), 413),
    "large by its header": (raw(b"{}", {"content-length": str(10**30)}), 413),
    "feature twice": (raw(b'{"row": {"width": 1, "letter": "A", "width": 2}}'), 422),
    "row twice": (raw(b'{"row": {"width": 1}, "row" : {"width": 1}}'), 422),
    "feature twice, once escaped": (raw(b'{"row": {"width": 1, "wi\\u0064th": 2}}'), 422),
    "batch with a feature twice": (
        raw(b'{"rows": [{"width": 1}, {"width": 1, "width": 1}]}', url="/predict_batch"),
        422,
    ),
    "get predict": (raw(b"", method="GET"), 405),
    "put predict": (raw(b"{}", method="PUT"), 405),
    "delete models": (raw(b"", url="/models", method="DELETE"), 405),
    "post status": (raw(b"{}", url="/status"), 405),
    "unknown path": (raw(b"", url="/nope", method="GET"), 404),
    "unclaimed route": (raw(b"{}", url="/predict/label"), 404),
    "contract of an unknown model": (raw(b"", url="/models/tyo/contract", method="GET"), 404),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_with_an_object(host, name) -> None:
    """The status fits, the body is an object with a sentence, the request has an id, nothing is logged."""
    request, status = CASES[name]
    answer = host.client.request(**request)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert isinstance(answer.json(), dict)
    assert len(answer.json()["error"]) > 10
    assert "Traceback" not in answer.text
    assert answer.headers["X-Request-Id"]
    assert len(answer.content) < 10_000
    assert host.log.summary()["waiting"] == host.log.summary()["written"] == 0


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("unknown feature", "did you mean 'width'?"),
        ("misspelt key", "did you mean 'row'?"),
        ("unknown model", "did you mean 'toy'?; known are toy"),
        ("misspelt parameter", "did you mean 'model'?"),
        ("at under wall clock", "clock is wall time"),
        ("number above its range", "at most 10.0"),
        ("batch with a bad row", "rows[1].width"),
        ("feature twice", "'width' is given more than once; expected once"),
        ("feature twice", '"field":"width","found":"several values","expected":"one"'),
        ("row twice", "'row' is given more than once"),
        ("unknown path", "/docs, /metrics"),
        ("unknown path", "/predict_batch, /readyz, /scores/{model}/{entity_id}, /status"),
    ],
)
def test_the_reason_helps(host, name, words) -> None:
    """The near miss, the range, the row: what a caller needs to correct the request."""
    assert words in host.client.request(**CASES[name][0]).text.replace('\\"', '"')


def test_a_text_that_looks_like_a_key_is_none(host) -> None:
    """What stands inside a value is a value, however it is written."""
    letter = '": 1, "width'
    answer = host.client.post("/predict", {"row": ROW | {"letter": letter}})
    twice = host.client.post("/predict", {"row": ROW, "id": '"id": "id":'})
    assert "given more than once" not in answer.text
    assert twice.status_code == 200, twice.text


def test_a_wrong_method_says_which_is_right(host) -> None:
    """405 carries Allow."""
    assert "POST" in host.client.request("GET", "/predict").headers["Allow"]


def test_a_stream_is_cut_off_at_the_limit(host) -> None:
    """A body that does not say its length is not read whole either."""
    sent = []

    async def chunks():
        for _ in range(100):
            sent.append(1)
            yield b" " * 100_000

    answer = host.client.request("POST", "/predict", content=chunks(), headers=JSON)
    assert answer.status_code == 413
    assert len(sent) < 20


@pytest.mark.parametrize(
    "at",
    [
        "2013-01-01",
        "2013-01-01T00:00:00",
        "yesterday",
        "",
        "2013-13-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
    ],
)
def test_a_moment_must_be_exact(make_host, make_bundle, at) -> None:
    """Where moments are accepted, one without an offset or out of the calendar is not."""
    host = make_host(clock="request")
    host.serve(make_bundle())
    assert host.client.post("/predict", {"row": ROW, "at": at}).status_code == 422


@pytest.mark.parametrize(
    "data", [[], [[1, 2], [1, 2]], [[1]], [[1, 2, 3]], [1, 2], [["1", 2]], [[None, 2]], "x"]
)
def test_a_claimed_route_is_as_strict(make_host, make_bundle, data) -> None:
    """One row, exactly its values, each of its type."""
    toy = make_bundle().contract
    contract = msgspec.structs.replace(toy, model="plain", features=toy.numbers, routes=("/predict/label",))
    host = make_host()
    host.serve(make_bundle(contract=contract))
    assert host.client.post("/predict/label", {"data": data}).status_code == 422
    assert host.client.get("/predict/label").status_code == 405


def test_a_defect_of_ours_is_an_object_too(host, monkeypatch) -> None:
    """An unforeseen exception is a 500 that tells the caller no internals."""
    monkeypatch.setattr(type(host.log), "append", lambda *_: 1 / 0)
    answer = host.client.post("/predict", {"row": ROW})
    assert answer.status_code == 500
    assert "division" not in answer.text
    assert answer.json()["error"]


def test_a_score_that_is_not_finite_is_never_sent(host, monkeypatch) -> None:
    """A model that answers NaN for one input fails that request, and the row is not logged."""
    scores = np.array([[np.nan, 0.5, 0.5]], dtype=np.float32)
    monkeypatch.setattr(Predictor, "predict", lambda *_: (np.array([0]), scores))
    answer = host.client.post("/predict", {"row": ROW})
    assert answer.status_code == 500
    assert "not finite" in answer.json()["error"]
    assert host.log.summary()["waiting"] == 0
