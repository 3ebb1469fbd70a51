"""What every command does alike: one sentence and a non-zero exit instead of a traceback."""

import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from contract.errors import FlightlineError

OK, FAILED, USAGE, KEPT, INTERRUPTED = 0, 1, 2, 10, 130


def command(main: Callable[[list[str] | None], int]) -> NoReturn:
    """Run `main` on the process's arguments and exit with its code.

    A refusal is printed as one line; an interrupt (Ctrl-C or SIGTERM) unwinds, so that `finally` blocks
    stop what was started, and exits with 130.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        code = main(None)
    except FlightlineError as error:
        print(f"error: {error}", file=sys.stderr)
        code = FAILED
    except KeyboardInterrupt:
        print("interrupted; run the same command again to continue.", file=sys.stderr)
        code = INTERRUPTED
    sys.exit(code)


def _interrupt(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature signal asks for
    raise KeyboardInterrupt
