"""What a long command says while it works."""

import os
import pty
import sys
from collections.abc import Callable

import pytest

from pipelines.delivery import telling as module
from pipelines.delivery.telling import progress_of, telling

pytestmark = pytest.mark.unit


def test_where_lines_stay_only_a_sign_of_life_is_printed_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log is not filled with what is true for a moment."""
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    with telling() as say:
        say("begun")
        for second in range(25):
            now[0] = float(second)
            progress_of(say)(f"at {second}")
    assert capsys.readouterr().out.splitlines() == ["begun", "at 10", "at 20"]


def test_a_program_that_reads_hears_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Its output is JSON alone."""
    with telling(silent=True) as say:
        say("begun")
        progress_of(say)("going on")
    assert capsys.readouterr().out == ""


def test_a_plain_way_of_saying_has_no_place_for_progress() -> None:
    """Whoever passes `print` gets lines that stay."""
    said: list[str] = []
    say: Callable[[str], None] = said.append
    progress_of(say)("going on")
    assert said == []


def test_in_a_terminal_the_line_of_the_moment_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said for good stands above it, brackets and all."""
    reader, writer = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    with os.fdopen(writer, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        with telling() as say:
            say("production: ok   [shadow 100 %]")
            progress_of(say)("canary 10 %: 20 of 200 requests")
        terminal.flush()
        shown = os.read(reader, 65_536).decode()
    os.close(reader)
    assert "production: ok   [shadow 100 %]" in shown
    assert "canary 10 %: 20 of 200 requests" in shown
