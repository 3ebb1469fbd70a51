"""How many rows a second a served model answers, 1,000 a request, beside the same graph in this process.

The service has one core and the caller the other. In-process onnxruntime and each way to ask take turns,
several rounds, so that a ratio compares neighbours in time. Checks, metrics and the prediction log are on.
"""

import argparse
import http.client
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import msgspec
import polars as pl
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contract.attestation import Trust, sign, trusted_key
from contract.bundle import Bundle, open_bundle
from contract.errors import FlightlineError
from contract.predictions import FEATURE_PREFIX
from contract.release import open_release
from contract.statements import ManifestStatement
from contract.strict import encode_json
from pipelines.cli import OK, command
from pipelines.machine.settings import ROOT
from serving.grpc.inference_pb2 import ModelInferRequest, ModelInferResponse
from serving.models.predictor import Predictor
from serving.protocol.tensors import join_strings
from serving.rows import Rows, decode_rows

ROWS = 1_000  # a request
IN_FLIGHT = 4  # requests at once: the service is never without one, as under load
LEAST = 0.5  # of in-process onnxruntime's rows a second
START_SECONDS = 120

Ask = Callable[[], None]


@dataclass(frozen=True)
class Rate:
    """Rows a second of one way to ask: the median of the rounds, and of its ratio to onnxruntime's."""

    name: str
    rows_per_second: float
    ratio: float
    ratios: tuple[float, ...]  # one a round


def measure(bundle_path: Path, seconds: float, rounds: int) -> list[Rate]:
    """The rates of the bundle at `bundle_path`, each measured `rounds` times for `seconds`.

    Raises:
        FlightlineError: there is no bundle, or the service does not start.
    """
    if not bundle_path.is_dir():
        raise FlightlineError(f"{bundle_path} does not exist", "a built model", "Run: make train")
    bundle = open_bundle(bundle_path)
    sent = _rows(bundle_path / "reference.parquet")
    rows = decode_rows(bundle.contract, sent)
    with tempfile.TemporaryDirectory(prefix="flightline-") as place, _alone():
        trust = _release(bundle_path, bundle, Path(place))
        predictor = Predictor.load(Path(place) / "release", bundle.digest, "1", trust)
        with _service(Path(place)) as (port, rpc):
            ways = _ways(bundle.contract.model, rows, sent, port, rpc)
            found = {
                "onnxruntime in this process": [],
                **{name: [] for name in ways},
            }  # type: dict[str, list[float]]
            for _ in range(rounds):
                found["onnxruntime in this process"].append(
                    _rate(lambda: lambda: _run(predictor, rows), seconds, at_once=1)
                )
                for name, way in ways.items():
                    found[name].append(_rate(way, seconds, at_once=IN_FLIGHT))
    base = found["onnxruntime in this process"]
    return [
        Rate(
            name,
            statistics.median(rates),
            statistics.median(ratios := [rate / own for rate, own in zip(rates, base, strict=True)]),
            tuple(ratios),
        )
        for name, rates in found.items()
    ]


def _run(predictor: Predictor, rows: Rows) -> None:
    predictor.predict(rows.numbers, rows.categories)


def _ways(
    model: str, rows: Rows, sent: list[dict[str, object]], port: int, rpc: int
) -> dict[str, Callable[[], Ask]]:
    """How to ask, by name; each makes a caller with a connection of its own."""
    numbers = rows.numbers.astype("<f4").tobytes()
    tensors = [("numbers", "FP32", list(rows.numbers.shape), numbers)]
    if rows.categories is not None:
        words = join_strings([str(word) for word in rows.categories.reshape(-1)])
        tensors.append(("categories", "BYTES", list(rows.categories.shape), words))
    message = ModelInferRequest(model_name=model)
    for name, datatype, shape, data in tensors:
        message.inputs.add(name=name, datatype=datatype, shape=shape)
        message.raw_input_contents.append(data)
    head = json.dumps(
        {
            "inputs": [
                {
                    "name": name,
                    "datatype": datatype,
                    "shape": shape,
                    "parameters": {"binary_data_size": len(data)},
                }
                for name, datatype, shape, data in tensors
            ],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    binary = head + b"".join(data for *_, data in tensors)
    length = {"Inference-Header-Content-Length": str(len(head))}
    plain = {"Content-Type": "application/json"}
    batch = msgspec.json.encode({"rows": sent})
    return {
        "V2 over gRPC": lambda: _grpc_caller(rpc, message.SerializeToString()),
        "V2 over REST, binary": lambda: _http_caller(port, f"/v2/models/{model}/infer", binary, length),
        "/predict_batch, JSON": lambda: _http_caller(port, "/predict_batch", batch, plain),
    }


def _grpc_caller(port: int, data: bytes) -> Ask:
    channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)])
    infer: Callable[..., ModelInferResponse] = channel.unary_unary(
        "/inference.GRPCInferenceService/ModelInfer", response_deserializer=ModelInferResponse.FromString
    )

    def ask() -> None:
        if infer(data, timeout=60).outputs[0].shape[0] != ROWS:
            raise _wrong("another number of rows")

    return ask


def _http_caller(port: int, path: str, body: bytes, headers: dict[str, str]) -> Ask:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def ask() -> None:
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        text = response.read()
        if response.status != http.HTTPStatus.OK:
            raise _wrong(f"{response.status} {text[:200]!r}")

    return ask


def _wrong(found: str) -> FlightlineError:
    return FlightlineError(f"the service answered {found}", "predictions", "Read what the service printed")


def _rate(way: Callable[[], Ask], seconds: float, at_once: int) -> float:
    """Rows a second, asked by `at_once` threads for `seconds` after a first, uncounted request of each."""
    gate = threading.Barrier(at_once)

    def work() -> tuple[int, float]:
        try:
            ask = way()
            ask()
            gate.wait()
        except BaseException:
            gate.abort()  # nobody waits for one who will not come
            raise
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            ask()
            count += 1
        return count, time.perf_counter() - began

    with ThreadPoolExecutor(at_once) as pool:
        done = [future.result() for future in [pool.submit(work) for _ in range(at_once)]]
    return sum(count / took for count, took in done) * ROWS


@contextmanager
def _alone() -> Iterator[None]:
    """This process on the last core, so that the service has the first."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


@contextmanager
def _service(place: Path) -> Iterator[tuple[int, int]]:
    """A service of the release in `place`, on the first core; its HTTP and gRPC ports."""
    ports = [_free_port(), _free_port()]
    environment = {
        **os.environ,
        "FLIGHTLINE_STATE": str(place / "state"),
        "FLIGHTLINE_TRUST": str(place / "trust.json"),
        "FLIGHTLINE_BUNDLE": str(place / "release"),
        "FLIGHTLINE_GRPC_PORT": str(ports[1]),
    }
    program = [str(ROOT / ".venv-serving/bin/python"), "-m", "serving", "--port", str(ports[0])]
    pin = ["taskset", "-c", str(min(os.sched_getaffinity(0) | {0}))] if shutil.which("taskset") else []
    process = subprocess.Popen([*pin, *program], cwd=ROOT, env=environment, stdout=sys.stderr)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _ready(ports[0]):
            if process.poll() is not None or time.monotonic() > deadline:
                raise FlightlineError("the service did not start", "a ready service", "Read what it printed")
            threading.Event().wait(0.1)
        yield ports[0], ports[1]
    finally:
        process.terminate()
        process.wait(60)


def _ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/v2/health/ready")
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _release(bundle_path: Path, bundle: Bundle, place: Path) -> Trust:
    """A release of the bundle in `place`, signed by a key that lives as long as this call."""
    key = Ed25519PrivateKey.generate()
    shutil.copytree(bundle_path, place / "release/bundle")
    (place / "release/attestations").mkdir()
    statement = ManifestStatement(model=bundle.model, digest=bundle.digest)
    (place / "release/attestations/manifest.json").write_bytes(sign(statement, "manifest", key))
    trust = Trust(keys=(trusted_key("trainer", key.public_key()),))
    (place / "trust.json").write_bytes(encode_json(trust))
    open_release(place / "release", bundle.digest, trust)
    return trust


def _rows(path: Path) -> list[dict[str, object]]:
    """ROWS rows of the reference as a caller sends them, from the beginning again where there are fewer."""
    table = pl.read_parquet(path)
    names = [name for name in table.columns if name.startswith(FEATURE_PREFIX)]
    plain = table.select(pl.col(name).alias(name.removeprefix(FEATURE_PREFIX)) for name in names)
    found = plain.head(ROWS).fill_nan(None).to_dicts()
    return [found[index % len(found)] for index in range(ROWS)]


def main(argv: list[str] | None = None) -> int:
    """Measure and say whether every way reaches its share of onnxruntime."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.rows",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m benchmarks.rows --model flights --seconds 2 --rounds 5",
    )
    parser.add_argument("--model", default="flights")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="for a program to read")
    given = parser.parse_args(argv)
    rates = measure(ROOT / "artifacts" / given.model / "bundle", given.seconds, given.rounds)
    if given.json:
        print(msgspec.json.format(msgspec.json.encode(rates), indent=2).decode())
    else:
        print(f"{'':30} {'rows/s':>10} {'x onnxruntime':>14}   rounds")
        for rate in rates:
            spread = " ".join(f"{ratio:.2f}" for ratio in rate.ratios)
            print(f"{rate.name:30} {rate.rows_per_second:>10,.0f} {rate.ratio:>14.2f}   {spread}")
    short = [rate for rate in rates if rate.ratio < LEAST]
    if short:
        raise FlightlineError(
            f"{short[0].name} reaches {short[0].ratio:.2f} of onnxruntime's rows a second",
            f"at least {LEAST}",
            "Measure again on an idle machine, then look where the time goes",
        )
    return OK


if __name__ == "__main__":
    sys.exit(command(main))
