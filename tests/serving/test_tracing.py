"""W3C trace context and OpenTelemetry, against a collector that is nothing but a socket and a list (S1)."""

import asyncio
from collections.abc import Iterator
from typing import Any

import grpc
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.grpc.inference_pb2 import ModelInferRequest
from serving.grpc.server import GrpcServer
from serving.http.admission import Admission
from serving.http.answers import Answerer
from serving.http.app import build_app
from serving.http.completing import Completing
from serving.protocol.inference import Inferring
from serving.tracing import Spans, Traced, read_trace
from tests.serving.collector import Collector, attributes
from tests.serving.conftest import Client
from tests.serving.processes import Process
from tests.serving.real import PYTHON, free_port

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"
ROW = {"width": 1.5, "height": 0.25, "letter": "A"}


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector that ends with the test."""
    made = Collector()
    yield made
    made.close()


def traced(host: Any, spans: Spans | None = None) -> Client:
    """A client of the application inside its traces."""
    app = build_app(host.settings, host.versions, host.log, host.metrics)
    return Client(Traced(app, spans))


@pytest.mark.unit
def test_a_valid_trace_is_kept_and_given_back(host) -> None:
    """The log knows the row by the id of the trace, unless the caller has an id of its own."""
    client = traced(host)
    headers = {"traceparent": PARENT, "tracestate": "vendor=1"}
    answer = client.post("/predict", {"row": ROW}, **headers)
    own = client.post("/predict", {"row": ROW}, **headers, **{"X-Request-Id": "mine"})
    refused = client.post("/predict", {"row": {}}, **headers)
    for found in (answer, own, refused):
        assert (found.headers["traceparent"], found.headers["tracestate"]) == (PARENT, "vendor=1")
    assert (answer.json()["request_id"], own.json()["request_id"]) == (TRACE, "mine")
    host.log.close()
    logged = pl.read_parquet(host.settings.predictions / "toy" / "*.parquet")["request_id"]
    assert sorted(logged.to_list()) == [TRACE, "mine"]


@pytest.mark.unit
def test_without_a_trace_nothing_is_added(host) -> None:
    """The same headers as without tracing."""
    answer = traced(host).post("/predict", {"row": ROW})
    assert (answer.status_code, "traceparent" in answer.headers) == (200, False)


@pytest.mark.unit
@pytest.mark.parametrize(
    "parent",
    [
        "",
        "x",
        PARENT.upper(),
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE[1:]}-{SPAN}-01",
        PARENT + "\n",
    ],
)
def test_an_invalid_trace_is_replaced(parent) -> None:
    """By a new one that is valid, without the state that belonged to the other."""
    trace = read_trace([parent], ["vendor=1"])
    assert not trace.valid
    assert TRACE not in trace.parent
    assert dict(trace.headers()).keys() == {"traceparent"}
    assert read_trace([trace.parent]).valid


@pytest.mark.unit
def test_two_traces_are_none() -> None:
    """Which of them was meant cannot be known."""
    assert not read_trace([PARENT, PARENT]).valid


@pytest.mark.unit
def test_a_later_version_may_say_more() -> None:
    """Its known fields are read; the flags that nobody defined are dropped."""
    trace = read_trace([f"01-{TRACE}-{SPAN}-ff-more"], ["x" * 513])
    assert (trace.parent, trace.state) == (PARENT, "")


@pytest.mark.unit
@given(st.text())
def test_no_header_breaks_anything(text) -> None:
    """Whatever is sent, the answer's header is valid."""
    assert read_trace([read_trace([text]).parent]).valid


def test_each_request_is_one_span(host, collector) -> None:
    """Below the caller's, with model, version, rows and status; the header of the answer names it."""
    spans = Spans(collector.endpoint)
    client = traced(host, spans)
    answer = client.post("/predict_batch", {"rows": [ROW, ROW]}, traceparent=PARENT)
    client.post("/predict", {"row": {"width": 99}})
    client.get("/models")
    spans.close()
    batch, refused, models = collector.spans
    assert (batch.trace_id.hex(), batch.parent_span_id.hex()) == (TRACE, SPAN)
    assert answer.headers["traceparent"] == f"00-{TRACE}-{batch.span_id.hex()}-01"
    assert (batch.name, refused.name, models.name) == ("POST /predict_batch", "POST /predict", "GET /models")
    told = attributes(batch)
    assert (told["flightline.model"], told["flightline.model.version"]) == ("toy", "1")
    assert (told["flightline.rows"], told["http.response.status_code"]) == (2, 200)
    assert told["flightline.request_id"] == TRACE
    assert attributes(refused)["http.response.status_code"] == 422
    assert refused.trace_id.hex() not in {TRACE, models.trace_id.hex()}


def test_a_trace_that_is_not_recorded_stays_so(host, collector) -> None:
    """The caller's decision holds: no span, and its flag is passed on."""
    spans = Spans(collector.endpoint)
    answer = traced(host, spans).post("/predict", {"row": ROW}, traceparent=PARENT[:-2] + "00")
    spans.close()
    assert collector.spans == []
    assert answer.headers["traceparent"].startswith(f"00-{TRACE}-")
    assert answer.headers["traceparent"].endswith("-00")


def test_an_absent_collector_costs_no_answer(host, collector) -> None:
    """Requests are answered, and the end is not held up for longer than an export may take."""
    collector.close()
    spans = Spans(collector.endpoint)
    assert traced(host, spans).post("/predict", {"row": ROW}).status_code == 200
    spans.close()


def test_a_crash_is_a_failed_span(collector) -> None:
    """An exception goes on, and its span says so."""

    async def broken(*_: Any) -> None:
        raise ZeroDivisionError

    spans = Spans(collector.endpoint)
    Client(Traced(broken, spans)).get("/")
    spans.close()
    assert collector.spans[0].status.code == 2


def test_a_grpc_call_is_one_span_too(host, collector) -> None:
    """With the same attributes, below the trace in its metadata."""
    spans = Spans(collector.endpoint)
    message = ModelInferRequest(model_name="toy")
    numbers = message.inputs.add(name="numbers", datatype="FP32", shape=[1, 2])
    numbers.contents.fp32_contents.extend([1, 0])
    words = message.inputs.add(name="categories", datatype="BYTES", shape=[1, 1])
    words.contents.bytes_contents.append(b"A")

    async def run() -> None:
        answerer, completing = Answerer(host.log, host.metrics), Completing(None, host.metrics)
        inferring = Inferring(answerer, completing, Admission(9, 99))
        server = GrpcServer(host.versions, inferring, host.metrics, ready=lambda: True, spans=spans)
        await server.start("127.0.0.1", 0)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
            await infer(message.SerializeToString(), metadata=(("traceparent", PARENT),), timeout=20)
            with pytest.raises(grpc.aio.AioRpcError):
                await infer(b"", timeout=20)
        await server.close(1)

    asyncio.run(run())
    spans.close()
    answered, refused = collector.spans
    assert (answered.trace_id.hex(), answered.parent_span_id.hex()) == (TRACE, SPAN)
    told = attributes(answered)
    assert (told["flightline.model"], told["flightline.rows"], told["rpc.system"]) == ("toy", 1, "grpc")
    assert attributes(refused)["http.response.status_code"] == 404


@pytest.mark.skipif(
    not PYTHON.exists(), reason="NO .venv-serving: `make test` makes it; it is tried in-process only"
)
def test_a_variable_switches_it_on(tmp_path, build_release, collector, monkeypatch) -> None:
    """A service as it really runs: every span has reached the collector when it has ended."""
    if not PYTHON.exists():
        pytest.skip("NO .venv-serving: `make test` makes it; no service of its own is traced")
    monkeypatch.setenv("FLIGHTLINE_OTLP_ENDPOINT", collector.endpoint)
    process = Process(folder=tmp_path, port=free_port(), build=build_release, command=["serving"])
    process.desire(process.release(), "1")
    process.start()
    try:
        answer = process.client.post("/predict", json={"row": ROW}, headers={"traceparent": PARENT})
    finally:
        assert process.stop() == 0
    span = next(span for span in collector.spans if span.name == "POST /predict")
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, SPAN)
    assert answer.headers["traceparent"] == f"00-{TRACE}-{span.span_id.hex()}-01"
    assert attributes(span)["flightline.request_id"] == answer.headers["X-Request-Id"] == TRACE
