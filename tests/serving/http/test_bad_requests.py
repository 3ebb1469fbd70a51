"""Every way of asking badly gets a 4xx with an object that says why, and never a model's answer."""

import numpy as np
import pytest

from serving.http.app import build_app
from serving.http.hot import Hot
from serving.http.limits import Limits
from serving.models.predictor import Predictor
from tests.serving.http.bad_inputs.admin import ADMIN
from tests.serving.http.bad_inputs.form import ROW, complaints
from tests.serving.http.bad_inputs.table import CASES, collect
from tests.serving.http.bad_inputs.wire import WIRE
from tests.serving.http.bad_inputs.world import releases

pytestmark = pytest.mark.unit

JSON = {"content-type": "application/json"}
ENOUGH = 200  # named bad inputs (M9)


@pytest.fixture(scope="module")
def hosts(tmp_path_factory, open_host, build_release):
    """One host by clock for the whole table, with the models of its world and the hot path in front."""
    folder = tmp_path_factory.mktemp("bad")
    wanted = releases(folder, build_release)
    made = {clock: open_host(folder / clock, clock) for clock in ("wall", "request")}
    hot = []
    for host in made.values():
        for release in wanted:
            host.serve(release)
        parts = (host.settings, host.versions, host.log, host.metrics)
        hot.append(Hot(build_app(*parts, host.completer), *parts, limits=Limits()))
        host.client = type(host.client)(hot[-1])
    yield made
    for front in hot:
        front.close()
    for host in made.values():
        host.log.close()
        host.versions.close()
        host.completer.close()


def test_there_are_enough_bad_inputs() -> None:
    """At least two hundred names, and no two of them for one request."""
    requests = [(bad.method, bad.url, bad.content, str(bad.headers), bad.clock) for bad in CASES.values()]
    assert len({*CASES, *WIRE, *ADMIN}) == len(CASES) + len(WIRE) + len(ADMIN) >= ENOUGH
    assert len(set(requests)) == len(requests)


def test_a_name_is_used_once() -> None:
    """A second case of one name would hide the first."""
    with pytest.raises(ValueError, match="named twice: empty body"):
        collect((CASES, {"empty body": CASES["blanks only"]}))


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_with_an_object(hosts, name) -> None:
    """The status fits, field, found and expected are said in short, nothing is logged or kept (M9)."""
    bad = CASES[name]
    host = hosts[bad.clock]
    answer = host.client.request(**bad.request)
    assert answer.status_code == bad.status, answer.text
    assert answer.headers["X-Request-Id"]
    assert host.log.summary()["waiting"] == host.log.summary()["written"] == 0
    assert list(host.completer.store.log()) == []
    if bad.method == "HEAD":
        assert answer.content == b""
    else:
        assert complaints(answer.headers, answer.content) == []
        assert answer.json()["problems"][0]["field"] == bad.field
        assert bad.words in answer.json()["error"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[]", "an object expected"),
        (b'{"error": "it failed for a reason"}', "no problems"),
        (b'{"error": "it failed for a reason", "problems": []}', "no problems"),
        (b'{"error": "no", "problems": [{"field": "a", "found": "b", "expected": "c"}]}', "no sentence"),
        (b'{"error": "it failed for a reason", "problems": [{"field": "a", "found": ""}]}', "field, found"),
        (b'{"error": "Traceback (most recent call last)", "problems": [1]}', "internals"),
        (b"Internal Server Error", "not JSON"),
        (b'{"error": "' + b"x" * 20_000 + b'"}', "long"),
    ],
)
def test_another_form_would_be_seen(content, words) -> None:
    """The check of the form bites."""
    assert any(words in found for found in complaints({"content-type": "application/json"}, content))
    assert complaints({"content-type": "text/plain"}, content)[0].startswith("text/plain")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("unknown feature", "did you mean 'width'?"),
        ("misspelt key", "did you mean 'row'?"),
        ("unknown model", "did you mean 'toy'?; known are plain, shop, strict, toy"),
        ("contract of an unknown model", "did you mean 'toy'?"),
        ("misspelt parameter", "did you mean 'model'?"),
        ("misspelt parameter of a batch", "did you mean 'model'?"),
        ("unknown category where it is refused", "one of A, B or null"),
        ("at under wall clock", "clock is wall time"),
        ("number just above its range", "at most 10.0"),
        ("batch with a bad row", "rows[1].width"),
        ("feature twice", "'width' is given more than once; expected once"),
        ("feature twice", '"field":"width","found":"several values","expected":"one"'),
        ("row twice", "'row' is given more than once"),
        ("unknown path", "/docs, /events, /metrics"),
        ("unknown path", "/predict_batch, /readyz, /scores/{model}/{entity_id}, /status"),
        ("get predict", '"found":"GET","expected":"POST"'),
        ("pickle of bentoml", "expected application/json in UTF-8"),
        ("large body", '"expected":"at most 1024 KiB"'),
        ("nan literal", "NaN is no number of JSON, and null is a missing one"),
        ("negative infinity literal", "Infinity is no number of JSON"),
        ("v2 literal of nan", "NaN is no number of JSON"),
        ("data of a long row", "one row of 2 values: width, height"),
        ("data of a long row", '"found":"a row of 3 values"'),
        ("data without its outer list", '"found":"a value without a row around it"'),
    ],
)
def test_the_reason_helps(hosts, name, words) -> None:
    """The near miss, the range, the row: what a caller needs to correct the request."""
    bad = CASES[name]
    assert words in hosts[bad.clock].client.request(**bad.request).text.replace('\\"', '"')


@pytest.mark.parametrize(
    "content",
    [
        b'{"row": {"width": -0}}',
        b'{"row": {"width": -0.0}}',
        b'{"row": {"width": 0}}',
        b'{"row": {"width": 10}}',
        b'{"row": {"width": 10.0000000000000001}}',
        b'{"row": {"width": 1e-400}}',
        b'{"row": {"width": 1E+0}}',
        b'{"row": {"width": 1, "height": 9223372036854775808}}',
        b'{"row": {"width": 1, "height": 3.4028234e38}}',
        b'{"row": {"width": 1, "height": null, "letter": null}}',
        b'{"row": {"width": 1, "letter": "C"}}',
        b'{"row": {"width": 1, "letter": "\\ud83d\\ude00"}}',
        b'\r\n\t {"row": {"width": 1}} \n',
    ],
)
def test_what_is_just_good_is_answered(make_host, make_bundle, content) -> None:
    """The edge itself is inside: strictness that refuses it would be a defect, too."""
    host = make_host()
    host.serve(make_bundle())
    assert host.client.request("POST", "/predict", content=content, headers=JSON).status_code == 200


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
