"""How long `dvc repro` takes from raw data to a bundle, stage by stage, and when nothing changed.

In a clone of the last commit with an empty cache, so that nothing is reused and nothing here is touched.
"""

import re
import subprocess
import time
from pathlib import Path

from benchmarks.calibration import Figure, calibrate
from contract.errors import FlightlineError
from pipelines.building.repro import repro
from pipelines.machine.processes import Say

# On two idle cores.
TARGETS_S = {"flights": 90.0, "iris": 15.0}
NO_OP_S = 3.0
_STAGE = re.compile(r"^(?P<stage>\w+) (?P<model>\w+): (?P<said>.*)$")  # as each stage says it at its end


def builds(checkout: Path, folder: Path, say: Say) -> list[Figure]:
    """Build each model in the new clone `folder`, then ask for everything again.

    Raises:
        FlightlineError: there is no commit, or a stage failed.
    """
    clone(checkout, folder)
    figures = []
    for model, target_s in TARGETS_S.items():
        figures += _build(model, target_s, folder, say)
    return [*figures, _no_op(folder, say)]


def clone(checkout: Path, folder: Path) -> None:
    """The last commit of `checkout`, without its lock file: with it DVC may believe what it has not built."""
    command = ["git", "clone", "--quiet", "--no-hardlinks", str(checkout), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise FlightlineError(
            f"git clone failed ({done.stderr.strip()})", "a checkout with a commit", "Commit first"
        )
    (folder / "dvc.lock").unlink(missing_ok=True)


def _build(model: str, target_s: float, folder: Path, say: Say) -> list[Figure]:
    """The whole and its stages. A stage's time includes what DVC does around it and the start of Python."""
    before = calibrate()
    ends: list[tuple[str, float]] = []

    def hear(line: str) -> None:
        say(line)
        match = _STAGE.match(line.strip())
        if match and match["model"] == model:
            ends.append((match["stage"], time.perf_counter()))

    start = time.perf_counter()
    repro(model, folder, hear)
    whole = time.perf_counter() - start
    if not ends:
        raise FlightlineError(
            f"dvc repro built no stage of {model}", "a build from raw data", "Look at dvc.yaml"
        )
    loop = (before + calibrate()) / 2
    starts = [start, *(end for _, end in ends)]
    stages = [
        Figure(f"{model}: {stage}", end - begun, loop)
        for (stage, end), begun in zip(ends, starts, strict=False)
    ]
    return [Figure(f"{model}, raw to bundle", whole, loop, target_s, f"{len(stages)} stages"), *stages]


def _no_op(folder: Path, say: Say) -> Figure:
    reused: list[str] = []

    def hear(line: str) -> None:
        if line.rstrip().endswith("unchanged, reused"):
            reused.append(line)
        else:
            say(line)

    before = calibrate()
    start = time.perf_counter()
    repro(None, folder, hear)
    seconds = time.perf_counter() - start
    return Figure(
        "nothing changed", seconds, (before + calibrate()) / 2, NO_OP_S, f"{len(reused)} stages reused"
    )
