"""The benchmarks of the service run, at sizes that say nothing about speed (S8)."""

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import polars as pl
import psutil
import pytest

from benchmarks import batches, rows, scoring
from benchmarks.serving import cost, start, steady, sweep
from benchmarks.serving.contenders import CONTENDERS, LIMIT, OURS, Contender
from benchmarks.serving.load import Cores, started
from benchmarks.serving.place import prepare
from contract.bundle import open_bundle
from contract.errors import FlightlineError
from contract.predictions import FEATURE_PREFIX
from tests.conftest import seal
from tests.serving.real import until

pytestmark = [pytest.mark.slow, pytest.mark.wrk]

ROOT = Path(__file__).parents[2]
KNOWN = {contender.name: contender for contender in CONTENDERS}

if len(os.sched_getaffinity(0)) < 2 or not (ROOT / ".venv-serving").exists():
    pytest.skip("NO second core or .venv-serving: the benchmarks go untested", allow_module_level=True)
if shutil.which("taskset") is None:
    pytest.skip("NO taskset: the benchmarks go untested", allow_module_level=True)


@pytest.fixture
def bundle(make_bundle) -> Path:
    """A small bundle with a reference in the layout of a built one; scoring knows models by name."""
    release = make_bundle(model="iris")
    path = release.bundle
    table = pl.DataFrame([item.row for item in open_bundle(path).golden.rows])
    table.rename(lambda name: FEATURE_PREFIX + name).write_parquet(path / "reference.parquet")
    seal(path, release.contract)
    return path


def test_a_start_ends_with_the_answer_that_training_saw(bundle, tmp_path) -> None:
    """Every start counts but the first of each, and there is memory to be seen."""
    place = prepare(bundle, tmp_path / "place")
    found = start.bench(place, [KNOWN[OURS]], turns=1)
    assert [(one.name, one.turn) for one in found] == [(OURS, 0)]
    values = found[0].values
    assert values["start_s"] > 0
    assert 0 < values["pss_mb"] <= values["rss_mb"]
    assert values["processes"] == 1


def test_bentomls_own_command_starts_the_service(bundle, tmp_path) -> None:
    """`bentoml serve` is measured with the same release: a supervisor and its worker."""
    place = prepare(bundle, tmp_path / "place")
    served = [contender for contender in start.contenders() if contender.name == start.SERVE]
    assert start.bench(place, served, turns=1)[0].values["processes"] >= 2


def test_a_server_that_ends_is_said_with_its_words(bundle, tmp_path) -> None:
    """Nobody waits for two minutes for what has died."""
    place = prepare(bundle, tmp_path / "place")
    dead = replace(KNOWN[OURS], name="dead", command=lambda *_: ["-c", "raise SystemExit('no model')"])
    with pytest.raises(FlightlineError, match=r"dead did not start.*\n*.*no model"):
        start.bench(place, [dead], turns=1)


def test_a_benchmark_that_is_interrupted_leaves_no_process_behind(bundle, tmp_path) -> None:
    """A supervisor that ends without its worker: the worker is ended all the same."""
    note = tmp_path / "pid"
    work = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)"
    lead = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {work!r}, sys.argv[1]])"
    leaving = Contender("leaving", "", lambda *_: ["-c", lead, str(note)], python=Path(sys.executable))
    place, workers = prepare(bundle, tmp_path / "place"), []

    def interrupted() -> None:
        with started(leaving, place, Cores.of_this_machine()) as one:
            while not (note.exists() and note.read_text()):
                one.check()
            workers.append(psutil.Process(int(note.read_text())))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert psutil.wait_procs(workers, timeout=10) == (workers, [])


def test_another_answer_than_trainings_is_no_start(bundle, tmp_path) -> None:
    """How quickly something wrong is said is not measured."""
    program = (
        "import http.server, sys\n"
        "class Wrong(http.server.BaseHTTPRequestHandler):\n"
        "    def do_POST(self):\n"
        "        self.rfile.read(int(self.headers['Content-Length']))\n"
        "        self.send_response(200); self.end_headers()\n"
        '        self.wfile.write(b\'{"prediction":"nonsense"}\')\n'
        "http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), Wrong).serve_forever()\n"
    )
    wrong = Contender("wrong", "", lambda _, port: ["-c", program, str(port)], python=Path(sys.executable))
    with pytest.raises(FlightlineError, match="the first answer is nonsense"):
        start.bench(prepare(bundle, tmp_path / "place"), [wrong], turns=1)


def test_a_constant_rate_is_kept_to_by_every_contender(bundle, tmp_path) -> None:
    """The same number of requests to each, and percentiles in their order."""
    place = prepare(bundle, tmp_path / "place")
    found = steady.bench(place, [KNOWN[OURS], KNOWN[LIMIT]], rate=50, seconds=1, turns=1)
    assert [one.name for one in found] == [OURS, LIMIT]
    for one in found:
        values = one.values
        assert (values["requests"], values["rate_per_s"]) == (50, 50)
        assert 0 < values["p50_ms"] <= values["p90_ms"] <= values["p99_ms"] <= values["max_ms"]
    assert "| flightline |" in steady.table(found)


def test_the_sweep_asks_every_pair_on_every_route(bundle, tmp_path) -> None:
    """A service with two workers and one with two threads are really that."""
    place = prepare(bundle, tmp_path / "place")
    pairs = [sweep.Pair(1, 2), sweep.Pair(2, 1)]
    found = sweep.bench(place, pairs, seconds=1, turns=1)
    assert len(found) == 2 * sum(map(len, sweep.CONNECTIONS.values()))
    assert all(one.values["rows_per_s"] > 0 for one in found)
    assert "| `/predict`, 64 connections |" in sweep.table(found)
    assert b"<svg" in sweep.draw(found)


def test_threads_and_workers_reach_the_process(bundle, tmp_path) -> None:
    """The pair is in the command and in the environment of what is started."""
    place = prepare(bundle, tmp_path / "place")
    with started(sweep.Pair(2, 2).contender(), place, Cores.of_this_machine()) as one:
        process = Path(f"/proc/{one.process.pid}")

        def has(kind: str, word: bytes) -> bool:
            return word in (process / kind).read_bytes().split(b"\0")

        # Between fork and exec, and while taskset becomes the service, both are empty for a moment.
        until(lambda: has("environ", b"FLIGHTLINE_ONNX_THREADS=2"), what="two threads in the environment")
        until(lambda: has("cmdline", b"--workers"), what="the number of workers in the command")


def test_a_million_predictions_have_a_price_in_every_way(bundle, tmp_path) -> None:
    """Single rows, batches in every form, and the scoring command; what was not logged is said."""
    found = cost.bench(prepare(bundle, tmp_path / "place"), seconds=1, turns=1, scored=5_000)
    assert len(found) == 6
    assert all(one.values["core_s_per_million"] > 0 for one in found)
    assert found[-1].values["predictions"] == 5_000
    assert "pipelines.score" in cost.table(found)


def test_rows_a_second_stand_beside_onnxruntime(bundle, tmp_path) -> None:
    """Each way has its own turn of the graph alone, before and after."""
    found = rows.bench(bundle, tmp_path / "place", seconds=0.2, turns=1)
    ways = [one.name for one in found if not one.name.startswith(rows.BASE)]
    assert ways == ["V2 over gRPC", "V2 over REST, binary", "JSON by column", "JSON by row"]
    assert [one.name for one in found if one.name.startswith(rows.BASE)] == [
        f"{rows.BASE}, beside {name}" for name in ways
    ]
    assert all(one.values["rows_per_s"] > 0 and one.values["cpu_us_per_row"] >= 0 for one in found)


def test_the_pieces_of_a_batch_stand_beside_onnxruntime(bundle) -> None:
    """Both forms, each piece with those before it, the last with all that is logged."""
    found = batches.bench(bundle, seconds=0.01, turns=1)
    assert [one.name for one in found][::4] == [
        batches.BASE,
        *(f"{form}: and its ranges judged, counted, and encoded for the log" for form in batches.FORMS),
    ]
    assert all(one.values["us_per_row"] > 0 for one in found)
    assert "| JSON by row: decoded |" in batches.table(found)
    with pytest.raises(FlightlineError, match="does not exist"):
        batches.bench(bundle / "nowhere", seconds=0.01, turns=1)


def test_scoring_stands_beside_onnxruntime(bundle) -> None:
    """In both ways to use every core."""
    found = scoring.bench(bundle, rows=20_000, turns=1)
    assert {one.name for one in found} == {scoring.OWN, scoring.THREADS, scoring.SCORED}
    assert f"| {scoring.SCORED} |" in scoring.table(found)
