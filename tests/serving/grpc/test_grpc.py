"""The Open Inference Protocol V2 over gRPC (S1): the worker's own server, asked by grpc's client."""

import asyncio
import struct
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import polars as pl
import pytest
from grpc_health.v1 import health_pb2

from contract.errors import FlightlineError
from serving.grpc import inference_pb2
from serving.grpc.server import HEADROOM, GrpcServer
from serving.http.admission import Admission
from serving.http.answers import Answerer
from serving.http.bodies import BATCH_BYTES
from serving.http.completing import Completing
from serving.protocol.inference import Inferring
from serving.protocol.tensors import join_strings, split_strings

ROOT = Path(__file__).parents[3]
ROW = {"width": 1.5, "height": 0.25, "letter": "A"}
Request = inference_pb2.ModelInferRequest
METHODS = {
    **{
        name: (f"/inference.GRPCInferenceService/{name}", getattr(inference_pb2, f"{name}Response"))
        for name in (
            *("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer"),
        )
    },
    "Check": ("/grpc.health.v1.Health/Check", health_pb2.HealthCheckResponse),
}


class Caller:
    """Calls of one channel; `server` is what answers."""

    def __init__(self, server: GrpcServer, channel: grpc.aio.Channel) -> None:
        """Keep both."""
        self.server, self.channel = server, channel

    async def __call__(self, name: str, message: Any, metadata: Any = None) -> Any:
        """The answer to one message, or bytes, of the method `name`."""
        return await self.begin(name, message, metadata)

    def begin(self, name: str, message: Any, metadata: Any = None) -> Any:
        """The call itself."""
        path, answer = METHODS[name]
        data = message if isinstance(message, bytes) else message.SerializeToString()
        method = self.channel.unary_unary(
            path, request_serializer=None, response_deserializer=answer.FromString
        )
        return method(data, metadata=metadata, timeout=20)


def server_of(host: Any, most: int = 100) -> GrpcServer:
    """A server over the models of `host` that takes `most` inferences at once."""
    inferring = Inferring(
        Answerer(host.log, host.metrics),
        Completing(host.completer, host.metrics),
        Admission(most, 4_000),
        host.settings.clock,
    )
    return GrpcServer(host.versions, inferring, host.metrics, ready=lambda: host.versions.ready)


def speak(host: Any, talk: Callable[[Caller], Awaitable[Any]], **arguments: Any) -> Any:
    """Run `talk` against a server over the models of `host`, and end the server."""

    async def run() -> Any:
        server = server_of(host, **arguments)
        await server.start("127.0.0.1", 0)
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
                return await talk(Caller(server, channel))
        finally:
            await server.close(1)

    return asyncio.run(run())


def request(*, typed: bool = True, **changes: Any) -> Any:
    """One row, as typed lists or in binary form."""
    made = Request(model_name="toy", **changes)
    for name, datatype, width in (("numbers", "FP32", 2), ("categories", "BYTES", 1)):
        tensor = made.inputs.add(name=name, datatype=datatype, shape=[1, width])
        if typed and datatype == "FP32":
            tensor.contents.fp32_contents.extend([1.5, 0.25])
        elif typed:
            tensor.contents.bytes_contents.append(b"A")
    if not typed:
        made.raw_input_contents.extend([struct.pack("<2f", 1.5, 0.25), join_strings(["A"])])
    return made


def refusal(host: Any, message: Any, name: str = "ModelInfer", **arguments: Any) -> tuple[Any, str]:
    """Code and details of a call that fails."""

    async def talk(call: Caller) -> tuple[Any, str]:
        with pytest.raises(grpc.aio.AioRpcError) as found:
            await call(name, message)
        return found.value.code(), str(found.value.details())

    code: tuple[Any, str] = speak(host, talk, **arguments)
    return code


@pytest.mark.parametrize("typed", [True, False])
def test_the_answer_is_that_of_predict(host, typed) -> None:
    """Same label, same scores, for both ways to carry values; the id comes back."""

    async def talk(call: Caller) -> Any:
        return await call("ModelInfer", request(typed=typed, id="mine"))

    answer = speak(host, talk)
    wanted = host.client.post("/predict", {"row": ROW}).json()
    assert (answer.id, answer.model_name, answer.model_version) == ("mine", "toy", "1")
    assert [(o.name, o.datatype, list(o.shape)) for o in answer.outputs] == [
        ("label", "BYTES", [1]),
        ("scores", "FP32", [1, 3]),
    ]
    assert split_strings("label", answer.raw_output_contents[0]) == [wanted["prediction"]]
    scores = np.frombuffer(answer.raw_output_contents[1], "<f4").tolist()
    assert scores == pytest.approx(list(wanted["scores"].values()))
    assert answer.parameters["digest"].string_param == wanted["digest"]


def test_metadata_health_and_versions(host) -> None:
    """What a client asks before it sends rows."""

    async def talk(call: Caller) -> None:
        assert (await call("ServerLive", inference_pb2.ServerLiveRequest())).live
        assert (await call("ServerReady", inference_pb2.ServerReadyRequest())).ready
        server = await call("ServerMetadata", inference_pb2.ServerMetadataRequest())
        assert list(server.extensions) == ["binary_tensor_data"]
        for version in ("", "1"):
            asked = inference_pb2.ModelMetadataRequest(name="toy", version=version)
            model = await call("ModelMetadata", asked)
            assert [(t.name, t.datatype, list(t.shape)) for t in model.inputs] == [
                ("numbers", "FP32", [-1, 2]),
                ("categories", "BYTES", [-1, 1]),
            ]
            ready = inference_pb2.ModelReadyRequest(name="toy", version=version)
            assert (await call("ModelReady", ready)).ready
        for service in ("", "inference.GRPCInferenceService"):
            state = await call("Check", health_pb2.HealthCheckRequest(service=service))
            assert state.status == health_pb2.HealthCheckResponse.SERVING

    speak(host, talk)


def test_before_a_model_is_loaded_it_is_unavailable(make_host) -> None:
    """Live, not ready, and every inference may be tried again elsewhere."""
    host = make_host()

    async def talk(call: Caller) -> Any:
        assert (await call("ServerLive", inference_pb2.ServerLiveRequest())).live
        assert not (await call("ServerReady", inference_pb2.ServerReadyRequest())).ready
        return (await call("Check", health_pb2.HealthCheckRequest())).status

    assert speak(host, talk) == health_pb2.HealthCheckResponse.NOT_SERVING
    assert refusal(host, request())[0] is grpc.StatusCode.UNAVAILABLE


def with_input(**changes: Any) -> Any:
    """A request whose first tensor differs."""
    made = request()
    for key, value in changes.items():
        if key == "shape":
            made.inputs[0].shape[:] = value
        elif key == "numbers":
            made.inputs[0].contents.fp32_contents[:] = value
        else:
            setattr(made.inputs[0], key, value)
    return made


def edited(edit: Callable[[Any], Any], *, typed: bool = True) -> Any:
    """A request after `edit`."""
    made = request(typed=typed)
    edit(made)
    return made


INVALID, MISSING = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("message", "code", "words"),
    [
        pytest.param(b"\xff\xff", INVALID, "no ModelInferRequest", id="no-message"),
        pytest.param(b"", MISSING, "no model ''", id="empty"),
        pytest.param(Request(model_name="toi"), MISSING, "did you mean 'toy'", id="unknown-model"),
        pytest.param(request(model_version="2"), MISSING, "no version '2'", id="unknown-version"),
        pytest.param(Request(model_name="toy"), INVALID, "found nothing", id="no-inputs"),
        pytest.param(with_input(name="numbrs"), INVALID, "unknown tensor", id="unknown-tensor"),
        pytest.param(with_input(name="categories"), INVALID, "same tensor twice", id="tensor-twice"),
        pytest.param(with_input(datatype="INT32"), INVALID, "datatype 'INT32'", id="datatype"),
        pytest.param(with_input(datatype="BYTES"), INVALID, "fp32_contents", id="contents-of-another"),
        pytest.param(with_input(shape=[1, 3]), INVALID, "2 values", id="shape"),
        pytest.param(with_input(shape=[-1, 2]), INVALID, "[-1, 2]", id="negative-shape"),
        pytest.param(with_input(shape=[1] * 1000), INVALID, "3 axes", id="many-axes"),
        pytest.param(with_input(shape=[2**62, 2**62]), INVALID, "2 values", id="huge-shape"),
        pytest.param(with_input(numbers=[1.5]), INVALID, "1 values", id="too-few"),
        pytest.param(with_input(numbers=[float("nan"), 0]), INVALID, "rows[0].width", id="nan"),
        pytest.param(with_input(numbers=[1, float("inf")]), INVALID, "rows[0].height", id="inf"),
        pytest.param(with_input(numbers=[11, 0]), INVALID, "found 11; expected", id="out-of-range"),
        pytest.param(
            edited(lambda m: m.outputs.add(name="x")), INVALID, "unknown tensor", id="unknown-output"
        ),
        pytest.param(
            edited(
                lambda m: m.parameters["sequence_id"].CopyFrom(inference_pb2.InferParameter(int64_param=3))
            ),
            INVALID,
            "not supported",
            id="sequence",
        ),
        pytest.param(
            edited(lambda m: m.raw_input_contents.append(b"")),
            INVALID,
            "1 values; expected 2",
            id="raw-count",
        ),
        pytest.param(
            edited(lambda m: m.raw_input_contents.extend([b"", b""])), INVALID, "both forms", id="both-forms"
        ),
        pytest.param(
            edited(lambda m: m.raw_input_contents.__setitem__(0, b"abc"), typed=False),
            INVALID,
            "3 bytes; expected 8",
            id="raw-size",
        ),
        pytest.param(
            edited(lambda m: m.raw_input_contents.__setitem__(1, b"\1\0\0\0\xff"), typed=False),
            INVALID,
            "UTF-8",
            id="raw-utf-8",
        ),
        pytest.param(request(id="x" * 201), INVALID, "201 characters", id="long-id"),
    ],
)
def test_a_wrong_request_has_a_code_and_a_sentence(host, message, code, words) -> None:
    """INVALID_ARGUMENT or NOT_FOUND, never INTERNAL, with what was found and expected."""
    found, details = refusal(host, message)
    assert (found, words in details) == (code, True), details


def test_too_large_a_message_is_refused(host) -> None:
    """RESOURCE_EXHAUSTED before it is read; the server goes on."""
    assert refusal(host, b"\0" * (BATCH_BYTES + HEADROOM + 1))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert refusal(host, b"\0" * 100)[0] is INVALID


def test_more_than_so_many_at_once_are_refused(host, monkeypatch) -> None:
    """RESOURCE_EXHAUSTED, while the one in flight is answered."""
    hold = Hold(monkeypatch)

    async def talk(call: Caller) -> None:
        first = asyncio.ensure_future(call("ModelInfer", request()))
        await hold.reached()
        with pytest.raises(grpc.aio.AioRpcError) as found:
            await call("ModelInfer", request())
        assert found.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        hold.release()
        assert (await first).model_name == "toy"

    speak(host, talk, most=1)


class Hold:
    """Keeps predictions waiting until they are let go."""

    def __init__(self, monkeypatch: Any) -> None:
        """Stand in for every answer."""
        self._let_go = threading.Event()
        self._seen = threading.Event()
        answer = Answerer.answer

        async def slow(answerer: Any, predictor: Any, rows: Any, call: Any) -> Any:
            self._seen.set()
            await asyncio.to_thread(self._let_go.wait, 20)
            return await answer(answerer, predictor, rows, call)

        monkeypatch.setattr(Answerer, "answer", slow)

    async def reached(self) -> None:
        """Wait until one prediction waits."""
        assert await asyncio.to_thread(self._seen.wait, 20)

    def release(self) -> None:
        """Let them all go."""
        self._let_go.set()


def test_the_end_says_so_first_and_finishes_what_is_in_flight(host, monkeypatch) -> None:
    """Watchers hear NOT_SERVING, new calls are refused, the call in flight is answered."""
    hold = Hold(monkeypatch)
    states = health_pb2.HealthCheckResponse

    async def talk(call: Caller) -> None:
        watch = call.channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=states.FromString,
        )(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == states.SERVING
        flying = asyncio.ensure_future(call("ModelInfer", request()))
        await hold.reached()
        ending = asyncio.ensure_future(call.server.close(20))
        assert (await watch.read()).status == states.NOT_SERVING
        assert await watch.read() is grpc.aio.EOF
        with pytest.raises(grpc.aio.AioRpcError) as found:
            await call("ModelInfer", request())
        assert found.value.code() is grpc.StatusCode.UNAVAILABLE
        assert not flying.done()
        assert not ending.done()
        hold.release()
        assert (await flying).model_name == "toy"
        await ending

    speak(host, talk)


def test_health_of_a_service_that_nobody_has(host) -> None:
    """NOT_FOUND, as the health protocol says."""
    asked = health_pb2.HealthCheckRequest(service="other")
    assert refusal(host, asked, "Check")[0] is MISSING


def test_ids_and_traces_travel_in_metadata(host) -> None:
    """A request id is kept, else the id of the caller's trace is the one that is logged."""
    trace = "0af7651916cd43dd8448eb211c80319c"

    async def talk(call: Caller) -> list[dict[str, str]]:
        found = []
        for metadata in (
            (("x-request-id", "abc"),),
            (("traceparent", f"00-{trace}-b7ad6b7169203331-01"), ("tracestate", "a=1")),
            (("x-request-id", "a b"), ("traceparent", "00-bad")),
        ):
            made = call.begin("ModelInfer", request(), metadata)
            await made
            found.append(dict(await made.initial_metadata()))
        return found

    first, second, third = speak(host, talk)
    assert (first["x-request-id"], first["x-model"], first["x-model-version"]) == ("abc", "toy", "1")
    assert "traceparent" not in first
    assert second["x-request-id"] == trace
    assert second["traceparent"] == f"00-{trace}-b7ad6b7169203331-01"
    assert second["tracestate"] == "a=1"
    assert third["traceparent"].split("-")[1] == third["x-request-id"] != "bad"
    host.log.close()
    logged = pl.read_parquet(host.settings.predictions / "toy" / "*.parquet")["request_id"].to_list()
    assert sorted(logged) == sorted(["abc", trace, third["x-request-id"]])


def test_a_defect_of_ours_tells_no_internals(host, monkeypatch) -> None:
    """INTERNAL with a plain sentence; the next call is answered."""

    async def broken(*_: Any) -> Any:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(Answerer, "answer", broken)
    code, details = refusal(host, request())
    assert (code, details) == (
        grpc.StatusCode.INTERNAL,
        "the service failed to answer; its log says why",
    )


def test_a_port_in_use_is_one_sentence(host) -> None:
    """It names the port and the variable; workers of one service may share it, others may not."""

    async def talk(call: Caller) -> None:
        other = server_of(host)
        with pytest.raises(FlightlineError, match="FLIGHTLINE_GRPC_PORT"):
            await other.start("127.0.0.1", call.server.port)
        await other.close(0)

    speak(host, talk)


def test_workers_share_one_port(host) -> None:
    """With SO_REUSEPORT two servers listen on it, and one goes on when the other ends."""

    async def run() -> None:
        servers = [server_of(host) for _ in "12"]
        await servers[0].start("127.0.0.1", 0, shared=True)
        await servers[1].start("127.0.0.1", servers[0].port, shared=True)
        assert servers[0].port == servers[1].port
        await servers[0].close(1)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{servers[1].port}") as channel:
            assert (await Caller(servers[1], channel)("ModelInfer", request())).model_name == "toy"
        await servers[1].close(1)

    asyncio.run(run())


def test_the_generated_code_is_that_of_its_description(tmp_path) -> None:
    """protoc, run again, writes what is checked in; another description gives other code."""
    source = ROOT / "serving/grpc/inference.proto"
    place = tmp_path / "serving/grpc"
    place.mkdir(parents=True)

    def generate(text: str) -> list[str]:
        (place / source.name).write_text(text)
        command = ["-I.", "--python_out=.", "--pyi_out=.", f"serving/grpc/{source.name}"]
        subprocess.run(
            [sys.executable, "-m", "grpc_tools.protoc", *command], cwd=tmp_path, check=True, timeout=60
        )
        return [(place / f"inference_pb2.{kind}").read_text() for kind in ("py", "pyi")]

    committed = [source.with_name(f"inference_pb2.{kind}").read_text() for kind in ("py", "pyi")]
    assert generate(source.read_text()) == committed
    assert generate(source.read_text() + "\nmessage Other {}\n") != committed
