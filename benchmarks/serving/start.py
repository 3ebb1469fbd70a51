"""How long until a started service answers correctly, and how much memory it then holds.

From the start of the process, on one core, to the first answer that training saw, asked again and again from
the other core. Memory is that of the whole family of processes, after the same number of requests to each:
PSS, which counts what several share once, and RSS. The contenders take turns, after a start of each that only
warms the files.
"""

import http.client
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import msgspec
import psutil

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
    rows,
    spread,
    tell,
)
from benchmarks.serving.contenders import CONTENDERS, OURS, STOCK, Contender, Place
from benchmarks.serving.load import Cores, started
from benchmarks.serving.place import prepare
from contract.bundle import Golden, open_bundle
from contract.errors import FlightlineError
from pipelines.cli import OK, command

SECTION = "start"
SERVE = "flightline-bentoml"
WARM_REQUESTS = 1_000
LOOK_S = 0.005  # between two attempts
ASKED = {"start_s": 0.65, "pss_mb": 0.6}  # of ours, as a share of `bentoml serve`'s


def contenders() -> list[Contender]:
    """This service as the local environment starts it and by BentoML's command, and stock BentoML."""
    known = {contender.name: contender for contender in CONTENDERS}
    ours = known[OURS]
    return [ours, replace(ours, name=SERVE, title="this service", command=_serve), known[STOCK]]


def bench(place: Place, chosen: Sequence[Contender], turns: int) -> list[Measurement]:
    """Every contender started `turns` times.

    Raises:
        FlightlineError: one does not start, or answers something else than training did.
    """
    cores, golden = Cores.of_this_machine(), open_bundle(place.bundle).golden
    found = []
    for turn in range(-1, turns):
        for contender in chosen:
            work = place.work / f"{contender.name}-{turn}"
            one = measure(contender.name, turn, partial(_once, contender, work, place, cores, golden))
            print(_line(one), file=sys.stderr, flush=True)
            if turn >= 0:
                found.append(one)
    return found


def table(found: Sequence[Measurement]) -> str:
    """Medians, and the medians of our share of each, turn by turn."""
    head = ["started", "to the first answer", "loop", "our share of it", "PSS", "RSS", "our share of PSS"]
    lines = []
    for name in names(found):
        start, pss, rss = (middle(found, name, value) for value in ("start_s", "pss_mb", "rss_mb"))
        shares = [spread(ratios(found, OURS, name, value)) if name != OURS else "" for value in ASKED]
        lines.append(
            [
                name,
                f"{start:.2f} s",
                f"{loop(found, name) * 1e3:.3g} ms",
                shares[0],
                f"{pss:.0f} MB",
                f"{rss:.0f} MB",
                shares[1],
            ]
        )
    asked = f"at most {ASKED['start_s']} of `bentoml serve`'s time and {ASKED['pss_mb']} of its memory"
    return f"{rows(head, lines)}\n\nAsked for: {asked}."


def _once(contender: Contender, work: Path, place: Place, cores: Cores, golden: Golden) -> dict[str, float]:
    row, label = dict(golden.rows[0].row), golden.rows[0].label
    body = contender.body(row)
    with started(contender, replace(place, work=work), cores) as one:
        port = int(one.server.address.rpartition(":")[2])
        while not _says(port, contender.path, body, label):
            one.check()
            time.sleep(LOOK_S)
        seconds = time.perf_counter() - one.began
        _warm(port, contender, [contender.body(dict(item.row)) for item in golden.rows])
        return {"start_s": seconds, **memory(one.process.pid)}


def memory(pid: int) -> dict[str, float]:
    """Megabytes of a process and its children. PSS shares out what several hold, RSS counts it for each."""
    first = psutil.Process(pid)
    found = [process.memory_full_info() for process in (first, *first.children(recursive=True))]
    return {
        "pss_mb": sum(one.pss for one in found) / 1e6,
        "rss_mb": sum(one.rss for one in found) / 1e6,
        "processes": float(len(found)),
    }


def _says(port: int, path: str, body: bytes, label: str) -> bool:
    """Whether the answer is `label`; False while nobody answers.

    Raises:
        FlightlineError: it is another one.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    if answer.status != http.HTTPStatus.OK:
        return False
    said = msgspec.json.decode(text, type=dict[str, object]).get("prediction")
    if said != label:
        raise FlightlineError(f"the first answer is {said}", f"'{label}', as training saw", "Measure nothing")
    return True


def _warm(port: int, contender: Contender, bodies: Sequence[bytes]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Content-Type": "application/json"}
    for number in range(WARM_REQUESTS):
        connection.request("POST", contender.path, bodies[number % len(bodies)], headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != http.HTTPStatus.OK:
            raise FlightlineError(f"{contender.name} answered {text[:200]!r}", "a prediction", "Ask it alone")
    connection.close()


def _serve(_: Place, port: int) -> list[str]:
    return ["-m", "bentoml", "serve", "serving.service:Flightline", "--port", str(port)]


def _line(one: Measurement) -> str:
    values = one.values
    what = f"{one.name:20} {values['start_s']:6.2f} s {values['pss_mb']:5.0f} MB"
    return what if one.turn >= 0 else f"{what}, not counted"


def main(argv: list[str] | None = None) -> int:
    """Measure, print the table, and keep it where asked to."""
    parser = options("benchmarks.serving.start", __doc__, "--turns 3")
    parser.add_argument("--turns", type=int, default=4, help="starts of each that count (4)")
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="flightline-") as folder:
        place = prepare(Path("artifacts") / given.model / "bundle", Path(folder))
        found = bench(place, contenders(), given.turns)
    tell(SECTION, Section(host(), given.model, found), table, given)
    return OK


if __name__ == "__main__":
    command(main)
