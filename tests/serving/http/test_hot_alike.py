"""The hot path answers as the application behind it does: status, headers and body (S3)."""

import json

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.http.admission import INLINE_ROWS
from serving.http.bodies import BATCH_BYTES, SINGLE_BYTES
from serving.http.hot import LONG_BYTES
from serving.tracing import Traced
from tests.serving.http.ways import ID, JSON, ROW, added, alike, counted, turned

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


# Half of the values are good, the others are each wrong, or odd, in a way of their own.
NUMBERS = st.one_of(
    st.floats(0, 10),
    st.integers(-3, 12),
    st.sampled_from([0, -0.0, 10, 10.000001, 1e-310, 3.4028234663852886e38, 3.5e38, 1e39, 10**400, -5, 5]),
    st.sampled_from([None, True, "1.5", [], {}, 2**53 + 1, 2**64 + 1, 5.000000001, -5.0000001]),
)
TEXTS = st.one_of(
    st.sampled_from(["A", "B", "C", None, "", "\0", "A\0", 1, ":", '":', '"a":', "é", "\ud800", "\\u0000"]),
    st.text(max_size=5),
)
ROWS = st.fixed_dictionaries(
    {"width": NUMBERS}, optional={"height": NUMBERS, "letter": TEXTS, "other": NUMBERS}
)
GOOD = st.fixed_dictionaries(
    {
        "width": st.floats(0, 10),
        "height": st.one_of(st.none(), st.floats(-1e30, 1e30), st.integers(-9, 9)),
        "letter": st.one_of(st.none(), st.text("AB:é{}\",'", min_size=1, max_size=3)),
    }
)
IDS = st.one_of(st.none(), st.sampled_from(["UA1", "", "x" * 200, "x" * 201, 5, 'a":b', "12:30"]))
MOMENTS = st.sampled_from([None, "2013-04-01T10:00:00-04:00", "2013-04-01", 7])
BODIES = st.one_of(
    st.fixed_dictionaries({"row": st.one_of(GOOD, ROWS)}, optional={"id": IDS, "at": MOMENTS, "more": IDS}),
    st.fixed_dictionaries(
        {"rows": st.lists(st.one_of(GOOD, GOOD, ROWS), max_size=2 * INLINE_ROWS)},
        optional={"ids": st.lists(IDS, max_size=3), "at": st.lists(MOMENTS, max_size=3)},
    ),
    st.fixed_dictionaries(
        {
            "columns": st.one_of(
                st.lists(GOOD, min_size=1, max_size=2 * INLINE_ROWS).map(turned),
                st.fixed_dictionaries(
                    {"width": st.lists(NUMBERS, max_size=2)},
                    optional={"height": st.lists(NUMBERS, max_size=2), "letter": st.lists(TEXTS, max_size=2)},
                ),
            )
        },
        optional={"ids": st.lists(IDS, max_size=3), "rows": st.lists(GOOD, max_size=1)},
    ),
)
# Ways to write the same, or to break it: what is done to the bytes.
WRITINGS = st.sampled_from(
    [
        lambda data: data,
        lambda data: data.replace(b'":', b'" \t:'),
        lambda data: data.replace(b'{"width":', b'{"width": 3, "width":', 1),
        lambda data: data.replace(b'{"width":', b'{"wi\\u0064th" : 3, "width":', 1),
        lambda data: data[:-1],
        lambda data: data + b" x",
        lambda data: data.replace(b"A", b"\xff"),
        lambda data: data.replace(b"A", b"\0"),
        lambda data: b"\xef\xbb\xbf" + data,
        lambda data: b"  " + data + b"\n",
    ]
)


@pytest.fixture(params=[LONG_BYTES, 0], ids=["short", "as if it were long"])
def lengths(request, monkeypatch):
    """The bytes from which on a batch is decoded beside the event loop."""
    monkeypatch.setattr("serving.http.hot.LONG_BYTES", request.param)


@pytest.mark.usefixtures("lengths")
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(body=BODIES, ascii_only=st.booleans(), write=WRITINGS, cut=st.integers(0, 50))
def test_whatever_is_sent_is_answered_alike_and_counted_alike(both, body, ascii_only, write, cut) -> None:
    """Good rows and bad ones, however they are written and cut: one status, one body, the same counts."""
    data = write(json.dumps(body, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass"))
    path = "/predict" if "row" in body else "/predict_batch"
    parts = [data[:cut], data[cut:]] if cut else [data]
    before = counted(both.host)
    hot, slow, by_itself = both.ask(parts, path=path, headers=[JSON, ID])
    alike(hot, slow)
    if by_itself:  # then one half of the news is the hot path's, and the other the application's
        assert all(value % 2 == 0 for value in added(both.host, before).values())


@pytest.mark.usefixtures("lengths")
@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(rows=st.lists(GOOD, min_size=1, max_size=2 * INLINE_ROWS), ascii_only=st.booleans())
def test_good_rows_are_answered_by_the_hot_path_itself(both, rows, ascii_only) -> None:
    """It would be alike, too, if it passed everything on."""
    data = json.dumps({"rows": rows}, ensure_ascii=ascii_only).encode()
    hot, slow, by_itself = both.ask([data], path="/predict_batch", headers=[JSON, ID])
    # A row in which '":' stands inside of a text looks like one with a key twice, and is looked at again.
    assert by_itself or '\\":' in json.dumps(rows) or '":' in data.decode().replace('": ', "")
    assert hot.status == 200
    alike(hot, slow)


@pytest.mark.parametrize("count", [1, INLINE_ROWS, INLINE_ROWS + 1, 1_000])
def test_columns_are_answered_as_the_rows_that_they_are(both, count) -> None:
    """By the hot path itself, and the log has the same of both."""
    rows = [
        {**ROW, "width": index % 10, "height": None if index % 3 else index / 7} for index in range(count)
    ]
    ids = [f"row-{index}" for index in range(count)]
    found = []
    for body in ({"rows": rows, "ids": ids}, {"columns": turned(rows), "ids": ids}):
        hot, slow, by_itself = both.ask(
            [json.dumps(body).encode()], path="/predict_batch", headers=[JSON, ID]
        )
        assert by_itself
        alike(hot, slow)
        found.append(hot)
    alike(*found)
    both.host.log.close()
    logged = pl.read_parquet(both.host.settings.predictions / "toy" / "*.parquet")
    each = logged.drop("received_at", "event_time", "latency_ms").unique()
    assert (logged.height, each.height) == (4 * count, count)


HEADERS = {
    "an id of the service's own": [JSON],
    "an id that could forge a log line": [JSON, ("x-request-id", "a\tb")],
    "an id twice": [JSON, ID, ("x-request-id", "r-2")],
    "a charset": [("content-type", "application/json; charset=utf-8"), ID],
    "another charset": [("content-type", "application/json; charset=latin-1"), ID],
    "another type": [("content-type", "text/plain"), ID],
    "capitals": [("content-type", "Application/JSON"), ID],
    "no type": [ID],
    "two types": [JSON, ("content-type", "text/plain"), ID],
    "an encoding": [JSON, ("content-encoding", "gzip"), ID],
    "no encoding, said": [JSON, ("content-encoding", "identity"), ID],
    "too long by its header": [JSON, ID, ("content-length", str(10**30))],
    "a trace": [JSON, ID, ("traceparent", TRACE)],
    "a trace of a later version": [JSON, ID, ("traceparent", "01" + TRACE[2:] + "-more")],
    "a trace of a forbidden version": [JSON, ID, ("traceparent", "ff" + TRACE[2:])],
    "a trace that is too long": [JSON, ID, ("traceparent", TRACE + "-more")],
    "a trace of nothing": [JSON, ID, ("traceparent", f"00-{'0' * 32}-00f067aa0ba902b7-01")],
    "a trace in capitals": [JSON, ID, ("traceparent", TRACE.upper())],
}


@pytest.mark.parametrize("name", HEADERS)
def test_headers_are_understood_alike(both, name) -> None:
    """Ids, content types, lengths and traces mean the same on both ways."""
    hot, slow, _ = both.ask([json.dumps({"row": ROW}).encode()], headers=HEADERS[name])
    alike(hot, slow)


def test_a_trace_goes_through_the_hot_path(both) -> None:
    """A valid traceparent comes back as it was sent with an answer that nobody else gave."""
    answer = type(both.host.client)(Traced(both.hot, None)).post("/predict", {"row": ROW}, traceparent=TRACE)
    assert answer.headers["traceparent"] == TRACE
    assert both.passed_on == []


@pytest.mark.parametrize(
    "query",
    ["", "model=toy", "model=tyo", "model=", "model=toy&model=toy", "modle=toy", "model=t%6fy", "&", "model"],
)
def test_the_model_is_named_alike(both, query) -> None:
    """A query means the same on both ways."""
    alike(*both.ask([json.dumps({"row": ROW}).encode()], query=query, headers=[JSON, ID])[:2])


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/predict", "GET"),
        ("/predict", "PUT"),
        ("/predictx", "POST"),
        ("/predict/label", "POST"),
        ("/", "POST"),
    ],
)
def test_what_is_no_prediction_is_passed_on(both, path, method) -> None:
    """Other paths and other methods are the application's."""
    hot, slow, by_itself = both.ask([b"{}"], path=path, method=method, headers=[JSON, ID])
    alike(hot, slow)
    assert not by_itself


@pytest.mark.parametrize(("path", "limit"), [("/predict", SINGLE_BYTES), ("/predict_batch", BATCH_BYTES)])
def test_a_body_is_read_up_to_its_limit_and_no_further(both, path, limit) -> None:
    """413 after the first byte too many, on both ways; the rest is never asked for."""
    sent = []

    def parts():
        for _ in range(10):
            sent.append(1)
            yield b" " * (limit // 2)

    hot, slow, _ = both.ask(list(parts()), path=path, headers=[JSON, ID])
    assert hot.status == 413
    alike(hot, slow)


def test_who_goes_away_before_the_end_is_answered_alike(both) -> None:
    """A body that never ends is no request."""
    hot, slow, _ = both.ask([b'{"row":'], headers=[JSON, ID], ends=False)
    assert hot.status == 400
    alike(hot, slow)
