"""`dvc repro` as a child that tells its progress and ends with us, however we end."""

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
from pipelines.machine.processes import Say

BUILD_S = 1800.0  # a build that takes longer hangs
ANEW = ("--force", "--no-run-cache", "--no-commit")


def repro(model: str | None, root: Path, say: Say = print, *, anew: bool = False) -> None:
    """`dvc repro` of one model, or of all, in the checkout `root`; each stage's own line goes to `say`.

    `anew` runs every stage, whatever was built before, and takes nothing from DVC's cache.

    A second one in the same checkout waits for the first, where DVC would give up at once.

    Raises:
        FlightlineError: a stage failed; the last line it printed is part of the sentence.
    """
    with exclusive(root / ".dvc" / "tmp" / "repro.lock", "dvc repro", wait_s=BUILD_S):
        _repro(model, root, say, ANEW if anew else ())


def _repro(model: str | None, root: Path, say: Say, how: tuple[str, ...]) -> None:
    tools = Path(sys.executable).parent
    # The stages import the code of `root`: the interpreter puts its working folder first on its path.
    environment = {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1"}
    command = [str(tools / "dvc"), "repro", *how, *([f"package@{model}"] if model else [])]
    process = subprocess.Popen(
        command,
        cwd=root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # a group of its own: stages end with it, however we are told to end
    )
    late = threading.Event()

    def give_up() -> None:
        late.set()
        _signal(process, signal.SIGKILL)

    alarm = threading.Timer(BUILD_S, give_up)
    alarm.start()
    last = ""
    try:
        for line in _lines(process):
            last = _tell(line.strip(), say) or last
        process.wait()
    except BaseException:  # Ctrl-C reaches us alone, so it is passed on
        try:
            _signal(process, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
        finally:  # a second Ctrl-C shortens the wait
            _signal(process, signal.SIGKILL)
            process.wait()
        raise
    finally:
        alarm.cancel()
    if late.is_set():
        last = f"it took over {BUILD_S:.0f} s and was ended"
    if process.returncode:
        raise FlightlineError(
            f"dvc repro failed in {root.resolve()} ({last or f'exit code {process.returncode}'})",
            "every stage to succeed",
            "Correct the cause and run the same command again",
        )


def _lines(process: subprocess.Popen[str]) -> Iterator[str]:
    """What `process` prints, line by line, until nobody holds the other end any more.

    A thread reads, so that we can be interrupted while nothing is printed: polars' handler of SIGINT lets
    the kernel continue a read where Python's would end it.
    """
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        with process.stdout or io.StringIO() as output:
            for line in output:
                lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    while True:
        with suppress(queue.Empty):
            line = lines.get(timeout=0.1)
            if line is None:
                return
            yield line


def _signal(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Tell `process` and all that it started; its group lives as long as any of them."""
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
