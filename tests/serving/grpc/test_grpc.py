"""The Open Inference Protocol V2 over gRPC (S1): the worker's own server, asked by grpc's client."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import polars as pl
import pytest
from grpc_health.v1 import health_pb2

from contract.errors import FlightlineError
from serving.grpc import inference_pb2
from serving.http.answers import Answerer
from serving.protocol.tensors import split_strings
from tests.serving.grpc.calling import ROW, Caller, refusal, request, server_of, speak

ROOT = Path(__file__).parents[3]


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


def test_health_of_a_service_that_nobody_has(host) -> None:
    """NOT_FOUND, as the health protocol says."""
    asked = health_pb2.HealthCheckRequest(service="other")
    assert refusal(host, asked, "Check")[0] is grpc.StatusCode.NOT_FOUND


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
    assert first["x-model-digest"] == host.wanted["toy"].digest
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

    monkeypatch.setattr(Answerer, "run", broken)
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
