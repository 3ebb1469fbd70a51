"""The shell around the pure packages: one file per step, run as `python -m pipelines.STEP`."""

import sys
from itertools import pairwise
from types import TracebackType

_COMMAND = any(flag == "-m" and name.startswith("pipelines.") for flag, name in pairwise(sys.orig_argv))


def _end_quietly(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Ctrl-C while a command is still importing its libraries is no reason for a traceback."""
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted before it began; nothing was changed.", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


if _COMMAND:
    sys.excepthook = _end_quietly
