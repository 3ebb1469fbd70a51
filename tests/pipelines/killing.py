"""Work that is killed at each of its effects in turn: after every one of them the world must be in order."""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

EFFECTS = frozenset(
    f"os.{name}" for name in ("rename", "link", "symlink", "mkdir", "rmdir", "remove", "chmod", "utime")
)


def killed_everywhere(
    folder: Path, prepare: Callable[[Path], None], work: Callable[[Path], None], check: Callable[[Path], None]
) -> int:
    """Kill `work` (SIGKILL) before its first effect in `folder`, its second, and so on; how many kills.

    After each kill `check` must hold; then `work` must succeed when it is run again, and `check` hold.
    Each step runs in a fork of this process, which must not have started a thread.
    """
    for number in range(1, 1_000):
        place = folder / str(number)
        _succeeds(lambda place=place: prepare(place))
        killed = _forked(lambda place=place, number=number: (_die_at(number, place), work(place)))
        assert killed in (0, -signal.SIGKILL), f"the work ended with {killed} at effect {number}"
        _succeeds(lambda place=place: check(place))
        _succeeds(lambda place=place: work(place))
        _succeeds(lambda place=place: check(place))
        shutil.rmtree(place)
        if killed == 0:
            return number - 1
    raise AssertionError("the work has no end")


def _succeeds(step: Callable[[], object]) -> None:
    code = _forked(step)
    assert code == 0, f"a step ended with {code}"


def _forked(step: Callable[[], object]) -> int:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            step()
            code = 0
        except BaseException:  # noqa: BLE001 - the fork must not go on as its parent would
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _die_at(number: int, folder: Path) -> None:
    left = number

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        writes = (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if (writes or event in EFFECTS) and str(folder) in f"{arguments[0]} {arguments[1:2]}":
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
