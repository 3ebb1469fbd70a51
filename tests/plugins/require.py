"""Skip a test whose system package is missing, loudly; fail it instead where REQUIRE names the package.

A test says what it needs by a marker (`@pytest.mark.browser`) or in its middle by the `require` fixture
(`require("redis")` returns the path of the command).
"""

import difflib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import pytest

VARIABLE = "REQUIRE"


@dataclass(frozen=True)
class Need:
    """Something outside the lock file: any one of `commands`, and the Debian package that brings it."""

    commands: tuple[str, ...]
    package: str


NEEDS = {
    "browser": Need(("chromium", "chromium-browser", "google-chrome"), "chromium"),
    "redis": Need(("redis-server",), "redis-server"),
    "wrk": Need(("wrk",), "wrk"),
    "kubectl": Need(("kubectl",), "kubernetes-client"),  # 1.27 or newer: kustomize components
    "docker": Need(("dockerd",), "docker.io"),
    "mmdebstrap": Need(("mmdebstrap",), "mmdebstrap"),  # makes the base image where there is no registry
}


def required(environment: str) -> frozenset[str]:
    """The words of a comma-separated REQUIRE.

    Raises:
        pytest.UsageError: a word is unknown; a misspelt one would silently require nothing.
    """
    words = frozenset(word.strip() for word in environment.split(",") if word.strip())
    for word in sorted(words - NEEDS.keys()):
        close = difflib.get_close_matches(word, NEEDS, n=1)
        hint = f", did you mean '{close[0]}'?" if close else ""
        raise pytest.UsageError(f"{VARIABLE} names '{word}'{hint}; expected some of: {', '.join(NEEDS)}")
    return words


def find(word: str) -> str:
    """Path of the command behind `word`; skips the running test where there is none, or fails it."""
    need = NEEDS[word]
    for command in need.commands:
        path = shutil.which(command)
        if path:
            return path
    return lack(word, f"{need.commands[0]} is not installed (Debian package: {need.package})")


def lack(word: str, reason: str) -> NoReturn:
    """Skip the running test for want of what `word` stands for, or fail it where REQUIRE names that."""
    if word in required(os.environ.get(VARIABLE, "")):
        pytest.fail(f"{reason}, and {VARIABLE} asks for '{word}'", pytrace=False)
    pytest.skip(reason)


@pytest.fixture
def require() -> Callable[[str], str]:
    """The function `find`, for a test that learns late what it needs."""
    return find


def pytest_configure(config: pytest.Config) -> None:
    """Refuse a misspelt REQUIRE before any test runs, and declare a marker for each word."""
    required(os.environ.get(VARIABLE, ""))
    for word, need in NEEDS.items():
        config.addinivalue_line("markers", f"{word}: needs Debian's {need.package}")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Look for what a test's markers name before its fixtures start anything."""
    for word in NEEDS:
        if item.get_closest_marker(word):
            find(word)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
    """Say why a selection without a single test is a failure."""
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        terminalreporter.write_line("error: no test was selected; correct the -m, -k or path.", red=True)
