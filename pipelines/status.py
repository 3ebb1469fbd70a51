"""What runs where, since when, by whom and on what evidence; and what the registry says should.

It looks at MLflow, the services and the ledger, and changes nothing. Nothing needs to run: what does not
answer is said to. Exit code 1: the ledger was changed, and says nothing of what runs.
"""

import json
import threading
from collections.abc import Callable
from dataclasses import asdict

from rich.console import Console
from rich.live import Live

from contract.errors import FlightlineError
from pipelines.cli import FAILED, OK, command, json_option, parser
from pipelines.delivery.board import board
from pipelines.delivery.standing import Status, status
from pipelines.machine.settings import Settings

PLAIN_WIDTH = 160  # characters, where there is no terminal that has a width
EVERY_S = 2.0


def main(argv: list[str] | None = None) -> int:
    """Show the status once, or again and again."""
    given = parser("status", __doc__, "status --json")
    json_option(given)
    given.add_argument("--watch", action="store_true", help=f"look again every {EVERY_S:g} s, until Ctrl-C")
    options = given.parse_args(argv)
    settings = Settings.from_environment()
    if options.json and options.watch:
        raise FlightlineError("--json and --watch ask for two things", "one of them", "Leave one out")
    if options.json:
        found = status(settings)
        print(json.dumps(asdict(found), indent=2))
        return FAILED if found.ledger else OK
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    if options.watch:
        watch(lambda: status(settings), console, threading.Event())
        return OK
    found = status(settings)
    console.print(board(found))
    return FAILED if found.ledger else OK


def watch(
    look: Callable[[], Status], console: Console, until: threading.Event, every_s: float = EVERY_S
) -> None:
    """Draw what `look` sees every so often, until `until` is set or Ctrl-C, which is how one ends it."""
    with Live(console=console, auto_refresh=False, screen=console.is_terminal) as drawn:
        try:
            while not until.is_set():
                drawn.update(board(look()), refresh=True)
                until.wait(every_s)
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    command(main)
