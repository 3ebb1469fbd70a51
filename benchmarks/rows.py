"""How many rows a second a served model answers, 1,000 a request, beside the same graph in this process.

The service has the first core and the caller the last. onnxruntime in this process has its turns on the
first, the service idle. A turn is short, and one of onnxruntime stands before and after each of another: a
ratio compares the same core within a second. Where others use the machine too, the CPU time that a row takes
says more than the rate. Checks, metrics and the prediction log are on.
"""

import http.client
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import msgspec
import polars as pl

from benchmarks.inference import session
from benchmarks.measurements import (
    Measurement,
    Section,
    host,
    loop,
    measure,
    middle,
    names,
    options,
    ratios,
    spread,
    tell,
)
from benchmarks.measurements import rows as markdown
from benchmarks.serving.contenders import CONTENDERS, OURS
from benchmarks.serving.figures import svg
from benchmarks.serving.load import Cores, Server, free_port, logged, running
from benchmarks.serving.place import prepare
from contract.bundle import open_bundle
from contract.errors import FlightlineError
from contract.predictions import FEATURE_PREFIX
from pipelines.cli import OK, command
from serving.grpc.inference_pb2 import ModelInferRequest, ModelInferResponse
from serving.models.predictor import Predictor
from serving.protocol.tensors import join_strings
from serving.rows import Rows, decode_rows

SECTION = "rows"
PICTURE = Path("docs/benchmarks-rows.svg")
BASE = "onnxruntime in this process"
ROWS = 1_000  # a request
IN_FLIGHT = 4  # requests at once: the service is never without one, as under load
LEAST = 0.5  # of in-process onnxruntime's rows a second: what was asked for

Ask = Callable[[], None]
Way = Callable[[], AbstractContextManager[Ask]]  # a caller with a connection of its own


def bench(bundle_path: Path, work: Path, seconds: float, turns: int) -> list[Measurement]:
    """Every way to ask in every turn, for `seconds` each.

    Raises:
        FlightlineError: there is no bundle, the service does not start, or answers something else.
    """
    place = prepare(bundle_path, work)
    bundle, found, rpc = open_bundle(place.bundle), [], free_port()
    sent = sample(place.bundle / "reference.parquet")
    rows = decode_rows(bundle.contract, sent)
    predictor = Predictor(bundle, "benchmark", {}, session(bundle))
    ours = next(contender for contender in CONTENDERS if contender.name == OURS)
    cores = Cores.of_this_machine()
    with (
        on({cores.load}),
        running(replace(ours, variables={"FLIGHTLINE_GRPC_PORT": str(rpc)}), place, cores) as server,
    ):
        port = int(server.address.rpartition(":")[2])
        for turn in range(turns):
            for name, way in ways(bundle.contract.model, rows, sent, port, rpc).items():
                base = [_alone(predictor, rows, cores, seconds / 2)]
                one = measure(name, turn, partial(_asked, server, way, seconds))
                base.append(_alone(predictor, rows, cores, seconds / 2))
                mean = {key: statistics.mean(half[key] for half in base) for key in base[0]}
                found += [one, Measurement(f"{BASE}, beside {name}", turn, mean, one.calibration_s)]
                share = one.values["rows_per_s"] / mean["rows_per_s"]
                print(f"{name:22} {one.values['rows_per_s']:>9,.0f} rows/s, {share:.2f}", file=sys.stderr)
    return found


def table(found: Sequence[Measurement]) -> str:
    """Medians over the turns, and of the rate over onnxruntime's beside it."""
    head = [
        "1,000 rows a request",
        "rows/s",
        "x onnxruntime",
        "CPU a row",
        "x onnxruntime's",
        "not logged",
        "loop",
    ]
    lines = []
    for name in names(found):
        rate, cpu = (middle(found, name, value) for value in ("rows_per_s", "cpu_us_per_row"))
        shares, lost = ["", ""], ""
        if not name.startswith(BASE):
            base = f"{BASE}, beside {name}"
            shares = [spread(ratios(found, name, base, value)) for value in ("rows_per_s", "cpu_us_per_row")]
            lost = f"{middle(found, name, 'not_logged_share'):.0%}"
        beside = f"{loop(found, name) * 1e3:.3g} ms"
        lines.append([name, f"{rate:,.0f}", shares[0], f"{cpu:.2f} µs", shares[1], lost, beside])
    return (
        f"{markdown(head, lines)}\n\nAsked for: at least {LEAST} of in-process onnxruntime's rows a second."
    )


def draw(found: Sequence[Measurement]) -> bytes:
    """The share of onnxruntime's rate by way to ask, a dot a turn and a bar for the median, as an SVG."""
    asked = [name for name in names(found) if not name.startswith(BASE)]

    def fill(figure: Any) -> None:
        axes = figure.subplots()
        for place, name in enumerate(asked):
            shares = ratios(found, name, f"{BASE}, beside {name}", "rows_per_s")
            axes.barh(place, statistics.median(shares), height=0.5, alpha=0.5)
            axes.scatter(shares, [place] * len(shares), s=8, color="black")
        axes.axvline(LEAST, linestyle="--", color="grey")
        axes.set_yticks(range(len(asked)), asked)
        axes.set(title="rows a second, as a share of in-process onnxruntime's", xlim=(0, None))
        axes.invert_yaxis()

    return svg(fill, (8, 2.6))


def _alone(predictor: Predictor, rows: Rows, cores: Cores, seconds: float) -> dict[str, float]:
    """The graph in this process, on the server's core."""
    with on({int(cores.server)}):
        before, began, count = time.process_time(), time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            predictor.predict(rows.numbers, rows.categories)
            count += ROWS
        took, cpu = time.perf_counter() - began, time.process_time() - before
    return {"rows_per_s": count / took, "cpu_us_per_row": cpu / count * 1e6}


def _asked(server: Server, way: Way, seconds: float) -> dict[str, float]:
    before, dropped = server.cpu_seconds(), logged(server)
    count, took = ask_at_once(way, seconds, IN_FLIGHT)
    # Waiting for the log is waiting for work of these rows, which would be in the way of the graph's turn.
    dropped = logged(server) - dropped
    cpu, rows = server.cpu_seconds() - before, (count + IN_FLIGHT) * ROWS  # with the uncounted first requests
    return {
        "rows_per_s": count * ROWS / took,
        "cpu_us_per_row": cpu / rows * 1e6,
        "not_logged_share": dropped / rows,
    }


def ways(model: str, rows: Rows, sent: list[dict[str, object]], port: int, rpc: int) -> dict[str, Way]:
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
    turned = msgspec.json.encode({"columns": {key: [row[key] for row in sent] for key in sent[0]}})
    return {
        "V2 over gRPC": lambda: _grpc_caller(rpc, message.SerializeToString()),
        "V2 over REST, binary": lambda: _http_caller(port, f"/v2/models/{model}/infer", binary, length),
        "JSON by column": lambda: _http_caller(port, "/predict_batch", turned, plain),
        "JSON by row": lambda: _http_caller(port, "/predict_batch", batch, plain),
    }


@contextmanager
def _grpc_caller(port: int, data: bytes) -> Iterator[Ask]:
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        infer: Callable[..., ModelInferResponse] = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            response_deserializer=ModelInferResponse.FromString,
        )

        def ask() -> None:
            if infer(data, timeout=60).outputs[0].shape[0] != ROWS:
                raise _wrong("another number of rows")

        yield ask


@contextmanager
def _http_caller(port: int, path: str, body: bytes, headers: dict[str, str]) -> Iterator[Ask]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:

        def ask() -> None:
            connection.request("POST", path, body, headers)
            response = connection.getresponse()
            text = response.read()
            if response.status != http.HTTPStatus.OK:
                raise _wrong(f"{response.status} {text[:200]!r}")

        yield ask


def _wrong(found: str) -> FlightlineError:
    return FlightlineError(f"the service answered {found}", "predictions", "Read what the service printed")


def ask_at_once(way: Way, seconds: float, at_once: int) -> tuple[int, float]:
    """Requests answered to `at_once` threads, and the seconds it took, after an uncounted request of each."""
    gate = threading.Barrier(at_once)

    def work() -> tuple[int, float, float]:
        with ExitStack() as stack:
            try:
                ask = stack.enter_context(way())
                ask()
                gate.wait()
            except BaseException:  # Ctrl-C too: the others wait at the gate
                gate.abort()  # nobody waits for one who will not come
                raise
            began, count = time.perf_counter(), 0
            while time.perf_counter() - began < seconds:
                ask()
                count += 1
            return count, began, time.perf_counter()

    with ThreadPoolExecutor(at_once) as pool:
        done = [future.result() for future in [pool.submit(work) for _ in range(at_once)]]
    return sum(count for count, *_ in done), max(end for *_, end in done) - min(start for _, start, _ in done)


@contextmanager
def on(cores: set[int]) -> Iterator[None]:
    """This thread, and those that it starts, on `cores`."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def sample(path: Path) -> list[dict[str, object]]:
    """ROWS rows of the reference as a caller sends them, from the beginning again where there are fewer."""
    table = pl.read_parquet(path)
    names = [name for name in table.columns if name.startswith(FEATURE_PREFIX)]
    plain = table.select(pl.col(name).alias(name.removeprefix(FEATURE_PREFIX)) for name in names)
    found = plain.head(ROWS).fill_nan(None).to_dicts()
    return [found[index % len(found)] for index in range(ROWS)]


def main(argv: list[str] | None = None) -> int:
    """Measure, print the table, and keep it with its plot where asked to."""
    parser = options("benchmarks.rows", __doc__, "--seconds 1 --turns 9")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement (2)")
    parser.add_argument("--turns", type=int, default=5, help="measurements of each (5)")
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="flightline-") as folder:
        bundle = Path("artifacts") / given.model / "bundle"
        found = bench(bundle, Path(folder), given.seconds, given.turns)
    if given.write:
        PICTURE.write_bytes(draw(found))
    tell(SECTION, Section(host(), given.model, found), table, given)
    return OK


if __name__ == "__main__":
    command(main)
