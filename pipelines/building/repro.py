"""`dvc repro` as children that tell their progress and end with us, however we end."""

import io
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from contract.errors import FlightlineError
from contract.locks import exclusive
from pipelines.building.config import read_yaml
from pipelines.machine.processes import Say

BUILD_S = 1800.0  # a build that takes longer hangs
ANEW = ("--force", "--no-run-cache", "--no-commit")


def repro(model: str | None, root: Path, say: Say = print, *, anew: bool = False) -> None:
    """`dvc repro` of one model, or of all, in the checkout `root`; each stage's own line goes to `say`.

    Models are built side by side. Where one fails, the others are built to their end all the same.

    `anew` runs every stage, whatever was built before, and takes nothing from DVC's cache.

    A second one in the same checkout waits for the first, where DVC would give up at once.

    Raises:
        FlightlineError: a stage failed; the last line it printed is part of the sentence.
    """
    with exclusive(root / ".dvc" / "tmp" / "repro.lock", "dvc repro", wait_s=BUILD_S):
        _repro([[f"package@{model}"]] if model else _lines_of(root), root, say, ANEW if anew else ())


def _lines_of(root: Path) -> list[list[str]]:
    """The stages of each model; no target, which means all, where a stage is of no list of models."""
    found: dict[str, list[str]] = {}
    for stage, body in read_yaml(root / "dvc.yaml").get("stages", {}).items():
        models = body.get("foreach")
        if not isinstance(models, list):
            return [[]]
        for model in models:
            found.setdefault(model, []).append(f"{stage}@{model}")
    return list(found.values()) or [[]]


def _repro(lines: list[list[str]], root: Path, say: Say, how: tuple[str, ...]) -> None:
    """One DVC for the targets of each of `lines`; it lets go of its lock while a stage runs."""
    processes: list[subprocess.Popen[str]] = []
    late = threading.Event()

    def give_up() -> None:
        late.set()
        _signal(processes, signal.SIGKILL)

    alarm = threading.Timer(BUILD_S, give_up)
    alarm.start()
    last: dict[int, str] = {}
    try:
        processes.extend(_dvc(("--wait-for-lock", "repro", *how, *targets), root) for targets in lines)
        for number, line in _printed(processes):
            last[number] = _tell(line.strip(), say) or last.get(number, "")
        for process in processes:
            process.wait()
    except BaseException:  # Ctrl-C reaches us alone, so it is passed on
        try:
            _signal(processes, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                for process in processes:
                    process.wait(10)
        finally:  # a second Ctrl-C shortens the wait
            _signal(processes, signal.SIGKILL)
            for process in processes:
                process.wait()
        raise
    finally:
        alarm.cancel()
    failed = [(number, process.returncode) for number, process in enumerate(processes) if process.returncode]
    if failed:
        said = [last.get(number) or f"exit code {code}" for number, code in failed]
        if late.is_set():
            said = [f"it took over {BUILD_S:.0f} s and was ended"]
        raise FlightlineError(
            f"dvc repro failed in {root.resolve()} ({'; '.join(said)})",
            "every stage to succeed",
            "Correct the cause and run the same command again",
        )


def _dvc(words: tuple[str, ...], root: Path) -> subprocess.Popen[str]:
    tools = Path(sys.executable).parent
    # The stages import the code of `root`: the interpreter puts its working folder first on its path.
    environment = {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1"}
    return subprocess.Popen(
        [str(tools / "dvc"), *words],
        cwd=root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # a group of its own: stages end with it, however we are told to end
    )


def _printed(processes: list[subprocess.Popen[str]]) -> Iterator[tuple[int, str]]:
    """What `processes` print, by number and line by line, until nobody holds the other ends any more.

    Threads read, so that we can be interrupted while nothing is printed: polars' handler of SIGINT lets
    the kernel continue a read where Python's would end it.
    """
    lines: queue.Queue[tuple[int, str | None]] = queue.Queue()

    def read(number: int, process: subprocess.Popen[str]) -> None:
        with process.stdout or io.StringIO() as output:
            for line in output:
                lines.put((number, line))
        lines.put((number, None))

    for pair in enumerate(processes):
        threading.Thread(target=read, args=pair, daemon=True).start()
    open_ends = len(processes)
    while open_ends:
        with suppress(queue.Empty):
            number, line = lines.get(timeout=0.1)
            if line is None:
                open_ends -= 1
            else:
                yield number, line


def _signal(processes: list[subprocess.Popen[str]], number: signal.Signals) -> None:
    """Tell `processes` and all that they started; a group lives as long as any of its own."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)


def _tell(line: str, say: Say) -> str:
    """Show what a reader wants to see of DVC's output; return the line if it explains a failure."""
    if line.startswith(("Stage '", "Running stage")):
        if "skipping" in line:
            say(f"  {line.split(chr(39))[1]}: unchanged, reused")
        return ""
    noise = ("Updating lock file", "> ", "To track", "git add", "To enable", "dvc config", "Use `dvc push`")
    if not line or line.startswith((*noise, "Data and pipelines")):
        return ""
    say(f"  {line}")
    return line if line.startswith("error:") or "ERROR" in line else ""
