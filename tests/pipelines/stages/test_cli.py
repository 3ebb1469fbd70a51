"""Commands end with a sentence and a code, however they end."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from contract.errors import FlightlineError
from pipelines.cli import FAILED, INTERRUPTED, KEPT, OK, USAGE, command
from tests.pipelines.stages.conftest import ROOT

# A command that is in the middle of something until it is told to stop, and tidies up after itself.
BUSY = """
import threading
from pipelines.cli import command

def main(argv):
    try:
        print("started", flush=True)
        threading.Event().wait(60)
    finally:
        print("tidied up", flush=True)
    return 0

command(main)
"""


@pytest.fixture
def quiet_signals():
    """Put back the handlers that `command` replaces."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.unit
def test_codes_tell_outcomes_apart():
    """Accepted, failed, wrong usage, champion kept, interrupted."""
    assert (OK, FAILED, USAGE, KEPT, INTERRUPTED) == (0, 1, 2, 10, 130)


@pytest.mark.unit
@pytest.mark.usefixtures("quiet_signals")
@pytest.mark.parametrize("code", [OK, KEPT])
def test_a_commands_own_code_is_its_exit_code(code):
    """What main returns."""
    with pytest.raises(SystemExit) as ended:
        command(lambda _: code)
    assert ended.value.code == code


@pytest.mark.unit
@pytest.mark.usefixtures("quiet_signals")
def test_a_refusal_is_one_line_on_standard_error(capsys):
    """Found, expected, remedy; exit code 1."""

    def main(_):
        raise FlightlineError("two", "three", "Add one")

    with pytest.raises(SystemExit) as ended:
        command(main)
    assert ended.value.code == FAILED
    assert capsys.readouterr().err == "error: two; expected three. Add one.\n"


@pytest.mark.unit
@pytest.mark.usefixtures("quiet_signals")
def test_a_full_disk_is_one_line_and_another_trouble_of_the_system_is_not_hidden(capsys):
    """Whoever reads it makes room; a file that is missing is a mistake in the code."""

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "var/ledger.jsonl")

    def missing(_):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "var/ledger.jsonl")

    with pytest.raises(SystemExit) as ended:
        command(full)
    assert ended.value.code == FAILED
    said = capsys.readouterr().err
    assert said.startswith(
        "error: there is no room for var/ledger.jsonl (No space left on device); expected "
    )
    assert said.count("\n") == 1
    with pytest.raises(FileNotFoundError):
        command(missing)


@pytest.mark.unit
@pytest.mark.usefixtures("quiet_signals")
def test_a_mistake_in_the_code_is_not_hidden():
    """Only refusals become sentences; a bug keeps its traceback."""

    def main(_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        command(main)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_unwinds_and_says_how_to_continue(tmp_path, how):
    """Ctrl-C or SIGTERM in the middle: `finally` blocks run, one line, code 130, no traceback."""
    with subprocess.Popen(
        [sys.executable, "-c", BUSY],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "started\n"
        process.send_signal(how)
        out, err = process.communicate(timeout=30)
    assert process.returncode == INTERRUPTED
    assert out == "tidied up\n"
    assert err == "interrupted; run the same command again to continue.\n"


def test_an_interrupt_while_a_library_makes_a_class_ends_with_the_same_code(tmp_path):
    """A named tuple is made by exec, and one that is interrupted leaves a mark on the interpreter."""
    (tmp_path / "making.py").write_text(
        "from pipelines.cli import command\n"
        "import signal\n"
        "def main(_):\n"
        "    exec('signal.raise_signal(signal.SIGINT)')\n"
        "    return 0\n"
        "command(main)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "making"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (done.returncode, done.stdout) == (INTERRUPTED, "")
    assert done.stderr == "interrupted; run the same command again to continue.\n"


@pytest.mark.unit
@pytest.mark.usefixtures("quiet_signals")
def test_an_interrupt_that_a_library_turned_into_its_own_error_is_still_one(capsys):
    """DuckDB raises RuntimeError when Ctrl-C comes in the middle of a query."""

    def main(_):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise RuntimeError("Query interrupted") from None
        return OK

    with pytest.raises(SystemExit) as ended:
        command(main)
    assert ended.value.code == INTERRUPTED
    assert "interrupted" in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_traceback():
    """`… | head -1` ends quietly, with the code a shell knows."""
    busy = (
        "from pipelines.cli import command\n"
        "command(lambda _: [print('x' * 1000, flush=True) for _ in range(1000)] and 0)"
    )
    done = subprocess.run(
        ["bash", "-c", '"$0" -c "$1" | head -1; exit "${PIPESTATUS[0]}"', sys.executable, busy],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 141
    assert done.stderr == ""
