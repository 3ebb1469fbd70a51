"""benchmarks: builds, inference, online store, features, each figure beside a fixed loop's.

The loop is the same work everywhere: the ratio to it is what two machines, or two days, can compare. Builds
run the last commit in a clone with an empty cache.
"""

import argparse
import importlib.util
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import msgspec

from benchmarks import report
from benchmarks.builds import builds
from benchmarks.calibration import Figure
from benchmarks.inference import inference
from benchmarks.measurements import host
from benchmarks.online import online
from contract.errors import FlightlineError
from pipelines.cli import OK, command
from pipelines.machine.settings import ROOT

OWN = ("builds", "inference", "online")
FEATURES = "features"  # prints and writes its own section
MODELS = ("flights", "iris")


def main(argv: list[str] | None = None) -> int:
    """Run the benchmarks, or one of them."""
    names = (*OWN, FEATURES)
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m benchmarks --only inference",
    )
    parser.add_argument("--only", choices=names, metavar="NAME", help=f"one of {', '.join(names)} (all)")
    parser.add_argument("--write", action="store_true", help=f"put the figures into {report.DOCUMENT}")
    parser.add_argument("--json", action="store_true", help="for a program to read")
    options = parser.parse_args(argv)
    wanted = [options.only] if options.only else list(names)
    own = [name for name in wanted if name in OWN]
    found = _own(own) if own else {}
    if options.json:
        print(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    for name, figures in found.items():
        if options.write:
            report.write(name, figures, machine())
        if not options.json:
            print(f"## {name}\n\n{machine()}\n\n{report.table(figures)}\n")
    if FEATURES in wanted and not (options.json and options.only is None):
        _features(["--write"] if options.write else [], asked_for=options.only == FEATURES)
    return OK


def machine() -> str:
    """What was measured on, in one line."""
    return f"{host()} The ratio is the time over that of the calibration loop."


def _own(wanted: list[str]) -> dict[str, list[Figure]]:
    found = {}
    with tempfile.TemporaryDirectory(prefix="flightline-") as place:
        clone = Path(place) / "clone"
        if "builds" in wanted:
            found["builds"] = builds(ROOT, clone, _to_stderr)
        # What was just built is what is measured; alone it measures what is built here.
        built = (clone if clone.exists() else Path()) / "artifacts"
        if "inference" in wanted:
            found["inference"] = [
                figure for model in MODELS for figure in inference(built / model / "bundle")
            ]
    if "online" in wanted:
        found["online"] = online()
    return found


def _features(words: list[str], *, asked_for: bool) -> None:
    name = f"benchmarks.{FEATURES}"
    if importlib.util.find_spec(name) is None:
        if asked_for:
            raise FlightlineError(f"there is no {name}", f"one of {', '.join(OWN)}", "Leave --only out")
        return
    run: Callable[[list[str]], int] = import_module(name).main
    if code := run(words):
        raise FlightlineError(f"{name} ended with {code}", "0", "See what it printed")


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    command(main)
