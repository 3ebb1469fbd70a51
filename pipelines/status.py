"""What runs on this machine, and what the registry says should: `python -m pipelines.status`."""

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from contract.errors import FlightlineError
from pipelines.cli import OK, command
from pipelines.delivery.registry import connect
from pipelines.delivery.services import intact, ready, recorded, running, what_is_lacking
from pipelines.delivery.tracking_server import is_up
from pipelines.ledger import Entry, history, live, models, read
from pipelines.local import SERVICES
from pipelines.machine.settings import Settings


@dataclass(frozen=True)
class Row:
    """One model in one environment."""

    environment: str
    model: str
    version: str
    digest: str
    alias: str  # the version that the environment's alias names; empty when unknown
    since: str


@dataclass(frozen=True)
class Status:
    """Everything at one moment."""

    mlflow: str  # its address, or why there is none
    services: dict[str, str]  # environment to stopped, not ready, differs or serving
    rows: tuple[Row, ...]


def status(settings: Settings) -> Status:
    """Look at MLflow, the services and the ledger; nothing is changed, and nothing needs to run."""
    entries = read(settings.ledger)
    aliases = _aliases(settings)
    rows = [
        _row(environment, model, entries, settings, aliases)
        for environment in SERVICES
        for model in sorted({*models(entries, environment), *_named(aliases, environment, settings)})
    ]
    answer = settings.tracking_uri if is_up(settings) else f"does not answer at {settings.tracking_uri}"
    return Status(answer, {name: _service(name, entries, settings) for name in SERVICES}, tuple(rows))


def main(argv: list[str] | None = None) -> int:
    """Print the status as a table or as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m pipelines.status --json",
    )
    parser.add_argument("--json", action="store_true", help="for a program to read")
    options = parser.parse_args(argv)
    settings = Settings.from_environment()
    found = status(settings)
    if options.json:
        print(json.dumps(asdict(found), indent=2))
        return OK
    print(f"{'mlflow':<11} {found.mlflow}")
    for name, state in found.services.items():
        print(f"{name:<11} {state:<11} {settings.service_url(name)}")
    for row in found.rows:
        note = f"  alias names version {row.alias}" if row.alias not in {"", row.version} else ""
        runs = f"version {row.version} ({row.digest[:12]}) since {row.since}" if row.version else "never ran"
        print(f"{row.environment:<11} {row.model:<11} {runs}{note}")
    return OK


def _service(environment: str, entries: list[Entry], settings: Settings) -> str:
    if running(environment, settings) is None:
        return "stopped"
    if not ready(environment, settings):
        return what_is_lacking(environment, settings, wait_s=0) or "not ready"
    return "serving" if intact(recorded(environment, entries, settings), environment, settings) else "differs"


def _row(
    environment: str,
    model: str,
    entries: Sequence[Entry],
    settings: Settings,
    aliases: dict[str, dict[str, str]],
) -> Row:
    placed = live(entries, environment, model)
    changed = [entry.at for entry in history(entries, environment, model)]
    return Row(
        environment=environment,
        model=model,
        version=placed.version if placed else "",
        digest=placed.digest if placed else "",
        alias=aliases.get(model, {}).get(settings.environment(environment).alias, ""),
        since=f"{changed[-1]:%Y-%m-%d %H:%M:%S}Z" if changed else "",
    )


def _named(aliases: dict[str, dict[str, str]], environment: str, settings: Settings) -> Iterable[str]:
    """The models whose alias of `environment` names a version, whether or not it ever ran."""
    alias = settings.environment(environment).alias
    return (model for model, versions in aliases.items() if alias in versions)


def _aliases(settings: Settings) -> dict[str, dict[str, str]]:
    """Model to alias to version; empty when MLflow does not answer, which the status says elsewhere."""
    try:
        registry = connect(settings)
        return {model: registry.aliases(model) for model in registry.models()}
    except FlightlineError:
        return {}


if __name__ == "__main__":
    command(main)
