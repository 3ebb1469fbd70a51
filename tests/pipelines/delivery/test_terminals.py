"""What a person at a terminal sees, and a program or a log does not: colours, and a line that lives."""

import json
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipelines import deploy, promote, status
from pipelines.machine.settings import Settings
from tests.pipelines.delivery import graphs
from tests.pipelines.delivery.conftest import World, settings_in

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
ERASED = "\x1b[2K"


class Screen:
    """All that was written to a terminal."""

    def __init__(self) -> None:
        self.data = b""

    def read(self, master: int) -> None:
        """Until the other end is closed."""
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:  # how Linux says that nobody has the other end any more
                return
            if not piece:
                return
            self.data += piece

    @property
    def text(self) -> str:
        """In order, with every control sequence."""
        return self.data.decode()


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Screen]:
    """Standard output is a terminal inside the block; what it was given is complete after it."""
    master, slave = os.openpty()
    screen = Screen()
    reader = threading.Thread(target=screen.read, args=(master,))
    reader.start()
    with monkeypatch.context() as patch:
        patch.setenv("TERM", "xterm-256color")
        patch.setenv("COLUMNS", "120")
        for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
            patch.delenv(name, raising=False)
        try:
            with os.fdopen(slave, "w") as stdout:
                patch.setattr(sys, "stdout", stdout)
                yield screen
        finally:
            reader.join(30)
            os.close(master)


@pytest.mark.unit
def test_a_status_is_coloured_in_a_terminal_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is stopped is red for a person; a file gets the same words, and JSON is JSON anywhere."""
    settings = settings_in(tmp_path / "var")
    monkeypatch.setattr(Settings, "from_environment", lambda *_: settings)
    with terminal(monkeypatch) as coloured:
        assert status.main([]) == 0
    assert "production\x1b[0m  \x1b[31mstopped\x1b[0m" in coloured.text
    with terminal(monkeypatch) as plain:
        assert status.main(["--json"]) == 0
    assert json.loads(plain.text)["services"]["production"] == "stopped"
    assert status.main([]) == 0
    text = capsys.readouterr().out
    assert "production  stopped" in text
    assert "\x1b" not in text


@pytest.mark.slow
def test_a_deployment_draws_a_line_that_lives(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Staging and each step of a rollout: what is done and how far it is, drawn over, gone in the end."""
    model = "drawn"
    world.promote(model)
    world.register(model, **graphs.alike(model))
    monkeypatch.setattr(Settings, "from_environment", lambda *_: world.settings)
    with terminal(monkeypatch) as staging:
        assert deploy.main(["staging", model]) == 0
    with terminal(monkeypatch) as production:
        assert promote.main([model, "--actor", "ada"]) == 0
    for screen, title, steps in (
        (staging, "staging drawn", ("smoke tests", "load test", "reading the past")),
        (production, "production drawn", ("shadow 100 %", "canary 25 %")),
    ):
        text = COLOUR.sub("", screen.text)
        drawn = [line for line in re.split(r"[\r\n]|\x1b\[\d?[A-Z]", text) if f"{title}: " in line]
        for step in steps:
            assert any(f"{title}: {step}" in line for line in drawn), (step, drawn)
        assert any(re.search(r" \d+% ", line) for line in drawn), drawn
        assert f"{title}: " not in text.rpartition(ERASED)[2]
        assert "ok   " in text  # what stays, above it
    shares = re.findall(r"shadow 100 %\s+\S*\s*(\d+)%", COLOUR.sub("", production.text))
    assert shares, COLOUR.sub("", production.text)[-3000:]
