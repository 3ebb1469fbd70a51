"""What a long command shows meanwhile: a live line in a terminal, plain lines elsewhere, nothing in JSON."""

import io

import pytest
from rich.console import Console

from pipelines.cli import quiet
from pipelines.machine.progress import showing, step

pytestmark = pytest.mark.unit


def test_a_log_gets_each_step_once_and_every_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A hundred updates of one step are one line."""
    with showing("staging toy", console=Console(file=io.StringIO())) as say:
        for done in range(100):
            step(say, "load test", done, 100)
        say("staging: ok load test")
        step(say, "[pipeline] verification")
    assert capsys.readouterr().out.splitlines() == [
        "staging toy: load test …",
        "staging: ok load test",
        "staging toy: [pipeline] verification …",
    ]


def test_a_terminal_gets_a_live_line_that_is_gone_in_the_end() -> None:
    """Drawn with its share, drawn over, and erased; what was said stays above it."""
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100, color_system=None)
    with showing("staging toy", console=console) as say:
        step(say, "load test [3]", 50, 100)
        say("staging: [ok] golden answers")
        step(say, "load test [3]", 75, 100)
    shown = screen.getvalue()
    assert "staging toy: load test [3]" in shown
    assert "75%" in shown
    assert "staging: [ok] golden answers\n" in shown
    assert (
        "load test" not in shown.rpartition("\x1b[2K")[2]
    )  # after the last erased line nothing is left of it


def test_json_is_not_mixed_with_progress(capsys: pytest.CaptureFixture[str]) -> None:
    """A program reads the output: nothing but the answer may stand there."""
    with showing("staging toy", as_json=True) as say:
        step(say, "load test", 1, 2)
        say("something")
        assert say is quiet
    assert capsys.readouterr().out == ""


def test_a_say_that_knows_no_steps_is_told_nothing() -> None:
    """Whoever passes a plain function hears the lines that stay, and no more."""
    heard: list[str] = []
    step(heard.append, "load test", 1, 2)
    assert heard == []
