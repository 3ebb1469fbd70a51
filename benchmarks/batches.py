"""Where the microseconds of a batch's rows go: what the service does with them, in this process.

Each line does what those above it do, and one thing more; the last is everything but HTTP, the adding up of
counts, and the segment of the log. onnxruntime's time over it is the share of onnxruntime's rate that such
pieces leave at the most.
"""

import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import msgspec

from benchmarks.inference import session
from benchmarks.measurements import Measurement, Section, host, measure, middle, names, options, tell
from benchmarks.measurements import rows as markdown
from benchmarks.rows import BASE, ROWS, on, sample
from benchmarks.serving.load import Cores
from contract.bundle import open_bundle
from contract.errors import FlightlineError
from pipelines.cli import OK, command
from serving.http.compiled import Plan, spell_scores
from serving.http.decoders import all_once
from serving.http.long_batches import finish
from serving.http.oddities import Packed
from serving.http.reading import Reading
from serving.http.waiting import Arrival, run
from serving.models.predictor import Predictor
from serving.recording.prediction_log import PredictionLog
from serving.recording.tally import Tally
from serving.rows import decode_rows

SECTION = "batches"
FORMS = {"JSON by column": "columns", "JSON by row": "rows"}
WARM = 3  # calls before the first that counts

Stage = Callable[[], object]


class Nobody:
    """A caller that is never answered."""

    disconnected = False

    def answer(self, fields: bytes, request_id: bytes, body: bytes, status: int = 200) -> None:
        """Hear it."""

    def give_back(self) -> None:
        """Hear that, too."""


def stages(plan: Plan, log: PredictionLog, body: bytes, form: str) -> dict[str, Stage]:
    """What is done with a body, by what each adds to the one before it."""
    decoders, reading = plan.decoders, Reading("wall")
    by_column = form == "columns"
    decode = decoders.long_columns if by_column else decoders.long_many
    keys = 1 + plan.width * (1 if by_column else ROWS)

    def decoded() -> object:
        found = decode(body)
        if found is None or not all_once(body, keys):
            raise FlightlineError("a body of the reference is not good", "one that is", "Report this")
        return found.columns if by_column else found.rows

    def packed() -> Packed:
        found = decoded()
        return plan.pack_columns(msgspec.structs.astuple(found)) if by_column else plan.pack_long(found)  # type: ignore[arg-type]  # rows, then

    def answered() -> bytes:
        ran = run(plan, packed())
        return plan.render_long(ran.labels.tolist(), spell_scores(ran.scores), b"0" * 32)

    def whole() -> object:
        arrival = Arrival(datetime.now(UTC), time.perf_counter())
        waiting = reading.long(plan, body, "0" * 32, Nobody(), arrival)
        if waiting is None:
            raise FlightlineError("a body of the reference is not good", "one that is", "Report this")
        return finish(plan, waiting, log)

    return {
        "decoded": decoded,
        "and packed": packed,
        "and run, and the answer written": answered,
        "and its ranges judged, counted, and encoded for the log": whole,
    }


def bench(bundle_path: Path, seconds: float, turns: int) -> list[Measurement]:
    """Every stage of both forms in every turn, for `seconds` each, on one core.

    Raises:
        FlightlineError: there is no bundle.
    """
    if not bundle_path.is_dir():
        raise FlightlineError(f"{bundle_path} does not exist", "a built model", "Run: make train")
    bundle, found = open_bundle(bundle_path), list[Measurement]()
    sent = sample(bundle_path / "reference.parquet")
    predictor = Predictor(bundle, "benchmark", {}, session(bundle))
    plan, log = Plan(predictor, Tally()), PredictionLog(Path("nowhere"), "nobody")  # it is never started
    rows = decode_rows(bundle.contract, sent)
    bodies = {
        "rows": msgspec.json.encode({"rows": sent}),
        "columns": msgspec.json.encode({"columns": {key: [row[key] for row in sent] for key in sent[0]}}),
    }
    every: dict[str, Stage] = {BASE: lambda: predictor.predict(rows.numbers, rows.categories)}
    for name, form in FORMS.items():
        made = stages(plan, log, bodies[form], form)
        every |= {f"{name}: {stage}": work for stage, work in made.items()}
    with on({int(Cores.of_this_machine().server)}):
        for turn in range(turns):
            for name, work in every.items():
                found.append(measure(name, turn, lambda work=work: _timed(work, seconds)))  # type: ignore[misc]  # a default that is bound at once
                print(f"{name:80} {found[-1].values['us_per_row']:6.2f} µs", file=sys.stderr)
    return found


def _timed(work: Stage, seconds: float) -> dict[str, float]:
    for _ in range(WARM):
        work()
    began, calls = time.perf_counter(), list[float]()
    while time.perf_counter() - began < seconds:
        before = time.thread_time()
        work()
        calls.append(time.thread_time() - before)
    return {"us_per_row": median(calls) / ROWS * 1e6}


def table(found: Sequence[Measurement]) -> str:
    """Medians over the turns."""
    base = middle(found, BASE, "us_per_row")
    lines = []
    for name in names(found):
        took = middle(found, name, "us_per_row")
        lines.append([name, f"{took:.2f} µs", f"{base / took:.2f}"])
    return markdown(["1,000 rows a call, on one core", "CPU a row", "onnxruntime's over it"], lines)


def main(argv: list[str] | None = None) -> int:
    """Measure, print the table, and keep it where asked to."""
    parser = options("benchmarks.batches", __doc__, "--seconds 1 --turns 9")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement (1)")
    parser.add_argument("--turns", type=int, default=5, help="measurements of each (5)")
    given = parser.parse_args(argv)
    found = bench(Path("artifacts") / given.model / "bundle", given.seconds, given.turns)
    tell(SECTION, Section(host(), given.model, found), table, given)
    return OK


if __name__ == "__main__":
    command(main)
