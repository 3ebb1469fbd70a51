"""What every command does alike: one sentence and a non-zero exit instead of a traceback."""

import argparse
import errno
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from contract.errors import ConfigError, FlightlineError

OK, FAILED, USAGE, KEPT, INTERRUPTED = 0, 1, 2, 10, 130
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
NOBODY_READS = 141  # what a shell reports of a program whose reader went away


def command(main: Callable[[list[str] | None], int]) -> NoReturn:
    """Run `main` on the process's arguments and exit with its code.

    A refusal is printed as one line, and so is a full disk; an interrupt (Ctrl-C or SIGTERM) unwinds, so that
    `finally` blocks stop what was started, and exits with 130.
    """
    interrupts: list[int] = []

    def interrupt(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature signal asks for
        interrupts.append(signum)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGINT, interrupt)
    try:
        with enough_room():
            code = main(None)
    except BrokenPipeError:
        # `… | head`: nothing more can be said, and the interpreter must not try to when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = NOBODY_READS
    except (KeyboardInterrupt, Exception) as error:
        # A library may turn an interrupt into an error of its own, as DuckDB does in the middle of a query.
        if interrupts or isinstance(error, KeyboardInterrupt):
            print("interrupted; run the same command again to continue.", file=sys.stderr)
            code = INTERRUPTED
            # An interrupt inside of an exec, as libraries make classes with it, is remembered as unhandled by
            # the interpreter, which would end itself with the signal after all; the next exec forgets it.
            exec("")  # noqa: S102 - of nothing
        elif isinstance(error, FlightlineError):
            print(f"error: {error}", file=sys.stderr)
            code = FAILED
        else:
            raise
    sys.exit(code)


@contextmanager
def enough_room() -> Iterator[None]:
    """A full disk inside the block is a refusal, and no mistake in the code.

    Raises:
        FlightlineError: it is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        where = f" for {error.filename}" if error.filename else ""
        raise FlightlineError(
            f"there is no room{where} ({error.strerror})",
            "a disk that takes what is written",
            "Make room and run the same command again",
        ) from error


def parser(name: str, purpose: str | None, example: str) -> argparse.ArgumentParser:
    """The options of `python -m pipelines.NAME`; `example` is a call of it, as help shows it."""
    return argparse.ArgumentParser(
        prog=f"python -m pipelines.{name}",
        description=purpose,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"example: python -m pipelines.{example}",
    )


def json_option(options: argparse.ArgumentParser) -> None:
    """`--json`."""
    options.add_argument("--json", action="store_true", help="for a program to read")


def artifacts_option(options: argparse.ArgumentParser) -> None:
    """`--artifacts`, the folder that `dvc repro` fills."""
    options.add_argument("--artifacts", type=Path, default=Path("artifacts"), help="holds MODEL/bundle")


def decision_options(options: argparse.ArgumentParser) -> None:
    """`--actor` and `--why`: what the ledger keeps of a decision."""
    options.add_argument("--actor", default="", help="who decides (default: FLIGHTLINE_ACTOR)")
    options.add_argument("--why", default="", help="the reason, for the ledger")


def again_option(options: argparse.ArgumentParser) -> None:
    """`--again`: a person's answer to a refusal."""
    options.add_argument(
        "--again", action="store_true", help="try what production has refused before; with --actor and --why"
    )


def check_again(options: argparse.Namespace) -> None:
    """Nothing, unless `--again` is given by nobody or for no reason.

    Raises:
        ConfigError: it is.
    """
    if options.again and not (options.actor and options.why):
        raise ConfigError(
            "--again is given without --actor or --why", "who decides it, and the reason", "Give both"
        )


def quiet(_: str) -> None:
    """Say nothing: for a command whose output a program reads."""
