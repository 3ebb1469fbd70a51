"""What a job on GitHub hears from us: outputs for later jobs, and lines for whoever looks at the run.

Elsewhere there are no such files, and only the lines are printed.
"""

from collections.abc import Mapping
from pathlib import Path

from contract.errors import ConfigError


def output(name: str, value: str, variables: Mapping[str, str]) -> None:
    """Set the output `name` of this step.

    Raises:
        ConfigError: the value has more than one line, and would set other outputs, too.
    """
    if len(value.splitlines()) > 1 or not name.isidentifier():
        raise ConfigError(f"the output '{name}' is '{value[:80]}'", "a name and one line", "Correct it")
    _append(variables.get("GITHUB_OUTPUT", ""), f"{name}={value}\n")


def summary(text: str, variables: Mapping[str, str]) -> None:
    """Print `text`, and add it to the summary of the run."""
    print(text)
    _append(variables.get("GITHUB_STEP_SUMMARY", ""), f"{text}\n\n")


def warning(title: str, text: str, variables: Mapping[str, str]) -> None:
    """Have the run carry a warning, which is seen without opening it, beside its line in the summary."""
    if variables.get("GITHUB_ACTIONS"):
        print(f"::warning title={title}::{text}")
    summary(f"**{title}**: {text}", variables)


def _append(path: str, text: str) -> None:
    if path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)
