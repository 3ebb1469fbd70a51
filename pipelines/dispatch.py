"""Ask GitHub for a retraining, where the last monitoring decided on one: a `repository_dispatch` event."""

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec

from contract.errors import ConfigError, FlightlineError
from contract.strict import decode_json, encode_json, near_miss
from pipelines.cli import OK, command
from pipelines.machine import files
from training.model import names

SECONDS = 20.0  # GitHub answers in less than one


class Outcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What monitoring decided, kept for whoever carries it out."""

    model: str
    action: str  # quarantine, insufficient, wait, keep or retrain
    reason: str
    as_of: str  # ISO date up to which a retraining may look


@dataclass(frozen=True)
class Repository:
    """Where to send an event, and with which right."""

    api: str  # https://api.github.com, or another server with its interface
    name: str  # owner/name
    token: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Repository":
        """Read GITHUB_REPOSITORY, GITHUB_TOKEN and GITHUB_API_URL, which every workflow job has.

        Raises:
            ConfigError: one of the first two is not set.
        """
        for name in ("GITHUB_REPOSITORY", "GITHUB_TOKEN"):
            if not environment.get(name):
                raise ConfigError(
                    f"{name} is not set", "a workflow's environment", "Set it, or run make retrain here"
                )
        return cls(
            api=environment.get("GITHUB_API_URL") or "https://api.github.com",
            name=environment["GITHUB_REPOSITORY"],
            token=environment["GITHUB_TOKEN"],
        )


def record(folder: Path, outcome: Outcome) -> Path:
    """Keep `outcome` as the last one of its model below `folder` (`var`); returns the file."""
    path = folder / "monitoring" / outcome.model / "decision.json"
    files.replace(path, encode_json(outcome))
    return path


def last(folder: Path, model: str) -> Outcome:
    """The last outcome of `model` below `folder`.

    Raises:
        ConfigError: there is none, or it is not an outcome.
    """
    path = folder / "monitoring" / model / "decision.json"
    try:
        data = path.read_bytes()
    except OSError:
        hint = near_miss(model, [name for name in names() if name != model])
        raise ConfigError(
            f"nothing was decided about '{model}' yet ({path}){hint}",
            "a decision",
            f"Run make monitor MODEL={model}",
        ) from None
    return decode_json(data, Outcome, path.name)


def send(repository: Repository, event: str, payload: Mapping[str, Any]) -> None:
    """Fire `repository_dispatch` of type `event`.

    Raises:
        FlightlineError: GitHub cannot be reached or refuses.
    """
    url = f"{repository.api}/repos/{repository.name}/dispatches"
    try:
        answer = httpx.post(
            url,
            json={"event_type": event, "client_payload": dict(payload)},
            headers={
                "Authorization": f"Bearer {repository.token}",
                "Accept": "application/vnd.github+json",
                "X-GitHub-Api-Version": "2022-11-28",
            },
            timeout=SECONDS,
        )
    except httpx.HTTPError as error:
        raise FlightlineError(f"{url} cannot be reached ({error})", "GitHub's API", "Try again") from None
    if answer.status_code != httpx.codes.NO_CONTENT:
        raise FlightlineError(
            f"{url} answered {answer.status_code}", "204", "Give the token the right `contents: write`"
        )


def main(argv: list[str] | None = None) -> int:
    """Send the event when the last decision about a model is `retrain`; otherwise say why not."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.dispatch",
        description="Ask GitHub to retrain a model, where the last monitoring decided so.",
        epilog="example: GITHUB_REPOSITORY=me/flightline GITHUB_TOKEN=… python -m pipelines.dispatch flights",
    )
    parser.add_argument("model", help="for example flights")
    parser.add_argument(
        "--var", type=Path, default=None, help="where the decision is (FLIGHTLINE_VAR, or var)"
    )
    chosen = parser.parse_args(argv)
    outcome = last(chosen.var or Path(os.environ.get("FLIGHTLINE_VAR") or "var"), chosen.model)
    if outcome.action != "retrain":
        print(f"no retraining of {outcome.model}: {outcome.action}, {outcome.reason}")
        return OK
    repository = Repository.from_environment(os.environ)
    send(repository, "retrain", {"model": outcome.model, "as_of": outcome.as_of, "reason": outcome.reason})
    print(f"asked {repository.name} to retrain {outcome.model} as of {outcome.as_of}: {outcome.reason}")
    return OK


if __name__ == "__main__":
    command(main)
