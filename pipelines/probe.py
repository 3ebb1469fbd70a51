"""probe: what cannot be read from a run's files and has to be tried, such as the training again.

DVC runs it in a process of its own with another hash seed than the stage `train` had. It is the longest
stage, so a second process tries half of it.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from contract.errors import FlightlineError
from pipelines.building.artifacts import Artifacts, existing, read_json, read_table, write_json
from pipelines.building.config import params
from pipelines.building.facts import Facts
from pipelines.building.stage import fresh
from pipelines.cli import OK, command, parser
from training import ablation
from training import model as models
from training.gates.again import train_again
from training.gates.handful import memorise


def probe(name: str) -> str:
    """Write `probes/{handful,again}.json`, which the stage `gate` judges, and `ablation.json`."""
    fresh(Artifacts.of(name).probes)
    with _beside(name, ("ablate",)) as others:
        return "; ".join([handful(name), again(name), others()])


@contextmanager
def _beside(name: str, parts: tuple[str, ...]) -> Iterator[Callable[[], str]]:
    """Try `parts` in a process that ends with the block; a call waits for it and gives what it says.

    Not a thread, for trees grow in Python; and not a fork, which would inherit half of an engine's threads.
    """
    words = [sys.executable, "-m", "pipelines.probe", name, *(f"--only={part}" for part in parts)]
    path = os.pathsep.join(place for place in sys.path if place)
    with subprocess.Popen(
        words,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:

        def said() -> str:
            lines = process.communicate()[0].strip().splitlines() or ["it said nothing"]
            if process.returncode:
                raise FlightlineError(
                    lines[-1].removeprefix("error: ").rstrip("."),
                    f"{' and '.join(parts)} to be tried",
                    "Then run the same command again",
                )
            return lines[-1].removeprefix(f"probe {name}: ")

        try:
            yield said
        finally:
            process.terminate()  # does nothing to one that has ended


def handful(name: str) -> str:
    """G02: fit a handful of training rows with the model's own parameters."""
    wanted, artifacts = params(name), Artifacts.of(name)
    rows = read_table(artifacts.split / "train.parquet")
    found = memorise(models.load(name), rows, wanted.train, wanted.seed)
    write_json(artifacts.probes / "handful.json", found)
    return f"a handful learnt to a loss of {found.loss:.4f}"


def again(name: str) -> str:
    """G14: the same training once more."""
    model, wanted, artifacts = models.load(name), params(name), Artifacts.of(name)
    train, validation = (read_table(artifacts.split / f"{part}.parquet") for part in ("train", "validation"))
    shipped = existing(artifacts.model / "model.onnx").read_bytes()
    found = train_again(model, train, validation, wanted.train, wanted.seed, shipped=shipped)
    write_json(artifacts.probes / "again.json", found)
    return "the training again gives " + ("the same" if found.again == found.shipped else "another graph")


def ablate(name: str) -> str:
    """What each group of features adds on the held-out rows, by training without it."""
    wanted, artifacts = params(name), Artifacts.of(name)
    found = ablation.ablate(
        models.load(name),
        read_table(artifacts.split / "train.parquet"),
        read_table(artifacts.split / "validation.parquet"),
        read_table(artifacts.split / "test.parquet"),
        params=wanted.train,
        seed=wanted.seed,
        rows=wanted.ablate.rows,
        by_day=read_json(artifacts.facts, Facts).kind == "time",
    )
    write_json(artifacts.ablation, found)
    gains = (f"{group} {item.gain:+.4f}" for group, item in found.groups.items())
    return f"what each group adds to {found.rows:,} rows: {', '.join(gains) or 'no group is declared'}"


PARTS: dict[str, Callable[[str], str]] = {
    "handful": handful,
    "again": again,
    "ablate": ablate,
}


def main(argv: list[str] | None = None) -> int:
    """Try everything, or some of it."""
    given = parser("probe", __doc__, "probe iris")
    given.add_argument("model", help=f"one of {', '.join(models.names())}")
    given.add_argument("--only", choices=PARTS, action="append", help="this part, and let the others be")
    options = given.parse_args(argv)
    models.load(options.model)
    if options.only:
        done = "; ".join(PARTS[part](options.model) for part in options.only)
    else:
        done = probe(options.model)
    print(f"probe {options.model}: {done}", flush=True)
    return OK


if __name__ == "__main__":
    command(main)
