"""Carry out a click in MLflow at once: `python -m pipelines.relay` listens to its webhook.

A webhook is a hint: what counts is the alias, which `pipelines.reconcile --every` looks at in any case.
"""

import argparse
import os
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from contract.errors import FlightlineError
from pipelines.cli import NO_ROOM, OK, command, enough_room
from pipelines.delivery.registry import connect
from pipelines.delivery.tracking_server import NoAnswerError
from pipelines.dispatch import Repository, send
from pipelines.ledger import live, read
from pipelines.machine.environments import PRODUCTION
from pipelines.machine.logs import note
from pipelines.machine.processes import Say
from pipelines.machine.settings import RELAY_PORT_VARIABLE, Settings
from pipelines.promotion import rules
from pipelines.promotion.deliveries import Deliveries
from pipelines.promotion.listening import Route, listening
from pipelines.promotion.webhooks import (
    PATH,
    Delivery,
    Headers,
    RejectedError,
    check_delivery,
    check_headers,
    register,
    secret,
)
from pipelines.reconcile import reconcile
from training.model import names

LOOK_S = 5.0  # between two looks at the secret, when nothing else happens
HERE, GITHUB = "here", "github"
Act = Callable[[Delivery], bool]  # whether it is dealt with


class Relay:
    """Deliveries as they come, and one thread that acts on them in turn."""

    def __init__(self, settings: Settings, act: Act, address: str, say: Say = note) -> None:
        """`address` is where MLflow reaches the relay; empty where somebody else registers it."""
        self._settings, self._act, self._address, self._say = settings, act, address, say
        self._deliveries = Deliveries(settings.var / "relay" / "deliveries.db")
        self._news = threading.Event()
        self._registered = ""  # the secret that MLflow was told
        self._said = ""  # the last trouble: what is tried every few seconds is told once
        self._unkept = ""  # why the last delivery, or that it was done, could not be written down
        self._acted: set[str] = set()  # done, and not written down as such

    def routes(self) -> dict[tuple[str, str], Route]:
        """What is answered over HTTP."""
        return {
            ("POST", PATH): self._receive,
            ("GET", "/livez"): self._alive,
            ("GET", "/readyz"): self._ready,
        }

    def run(self) -> None:
        """Register, then act on what comes, until the process is interrupted.

        Raises:
            FlightlineError: MLflow refuses the webhook.
        """
        failures = 0
        while True:
            self._news.clear()
            well = [self._kept(), self._registration() and self._work()]
            failures = 0 if all(well) else failures + 1
            self._news.wait(min(LOOK_S, 2.0**failures / 4) if failures else LOOK_S)

    def _receive(self, headers: Headers, body: Callable[[int], bytes]) -> tuple[int, Mapping[str, Any]]:
        now = time.time()
        text = body(check_headers(headers))
        delivery = check_delivery(headers, text, secret(self._settings), now)
        try:
            self._deliveries.accept(delivery, now)
        except RejectedError:
            raise
        except FlightlineError as error:  # answered with 503: MLflow sends it again
            self._unkept = str(error)
            raise
        self._unkept = ""
        self._news.set()
        return 202, {"accepted": delivery.id}

    def _alive(self, *_: object) -> tuple[int, Mapping[str, Any]]:
        try:
            waiting, trouble = self._deliveries.pending(), self._unkept
        except FlightlineError as error:
            waiting, trouble = [], str(error)
        return 200, {"pending": len(waiting), "trouble": trouble}

    def _ready(self, *_: object) -> tuple[int, Mapping[str, Any]]:
        known = bool(self._registered) or not self._address
        return (200 if known else 503), {"registered": known}

    def _registration(self) -> bool:
        """Tell MLflow the secret, at the start and when it was replaced."""
        try:
            key = secret(self._settings)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            self._once(f"there is no secret, and no room for one ({error})")
            return False
        if not self._address or key == self._registered:
            return True
        try:
            done = register(connect(self._settings), self._address, key)
        except NoAnswerError as error:
            self._once(f"the webhook is not registered yet: {error}")
            return False
        self._registered = key
        self._say(f"the webhook to {self._address} is {done}")
        return True

    def _once(self, line: str) -> None:
        if line != self._said:
            self._say(line)
        self._said = line

    def _kept(self) -> bool:
        """After trouble with the disk: whether there is room again."""
        if self._unkept:
            try:
                self._deliveries.try_room()
            except FlightlineError as error:
                self._unkept = str(error)
                return False
            self._unkept = ""
        return True

    def _work(self) -> bool:
        """Act on what is pending; False when something is left for another try."""
        try:
            pending = self._deliveries.pending()
        except FlightlineError as error:
            self._once(str(error))
            return False
        for delivery in pending:
            try:
                with enough_room():
                    dealt_with = delivery.id in self._acted or self._act(delivery)
            except FlightlineError as error:
                self._once(f"{_about(delivery)} will be tried again: {error}")
                return False
            if not dealt_with:
                return False
            self._acted.add(delivery.id)  # not a second time, only because the disk has no room for that
            try:
                self._deliveries.done(delivery)
            except FlightlineError as error:
                self._unkept = str(error)
                self._once(f"{_about(delivery)} was dealt with, and that cannot be written down: {error}")
                return False
            self._acted.discard(delivery.id)
        return True


def deploy_here(delivery: Delivery, settings: Settings, say: Say = note) -> bool:
    """Do for one model what the reconciler does for all; False when it is to be tried again."""
    if delivery.model not in names() or not _concerns(delivery, settings):
        return True
    began = time.monotonic()
    done = reconcile(settings, say, [delivery.model])
    for item in done:
        say(f"{item.model}: {item.outcome}, {item.detail} ({time.monotonic() - began:.1f} s)")
    return all(item.outcome != "failed" for item in done)


def dispatch(delivery: Delivery, settings: Settings, repository: Repository, say: Say = note) -> bool:
    """Ask GitHub to deliver, where a version was made champion that is not live.

    The digest goes along: a number means something in this registry alone. The workflow ships nothing else.

    Raises:
        FlightlineError: MLflow does not say what the version is, or GitHub does not take the event.
    """
    alias = settings.environment(PRODUCTION).alias
    placed = live(read(settings.ledger), PRODUCTION, delivery.model)
    if delivery.model not in names() or delivery.alias != alias or not delivery.version:
        return True
    if placed is not None and placed.version == delivery.version:
        return True
    digest = connect(settings).by_number(delivery.model, delivery.version).digest
    payload = {
        "model": delivery.model,
        "version": delivery.version,
        "digest": digest,
        "delivery": delivery.id,
    }
    send(repository, "promote", payload)
    say(f"asked {repository.name} to promote {delivery.model} version {delivery.version}")
    return True


def main(argv: list[str] | None = None) -> int:
    """Listen until it is interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.relay",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: GITHUB_REPOSITORY=me/it GITHUB_TOKEN=… python -m pipelines.relay --to github",
    )
    parser.add_argument(
        "--to",
        choices=[HERE, GITHUB],
        default=HERE,
        help="who deploys: this machine, or a workflow (default: here)",
    )
    options = parser.parse_args(argv)
    settings = Settings.from_environment()
    act: Act = partial(deploy_here, settings=settings, say=note)
    if options.to == GITHUB:
        act = partial(
            dispatch, settings=settings, repository=Repository.from_environment(os.environ), say=note
        )
    own = f"http://127.0.0.1:{settings.relay_port}{PATH}" if settings.owns_tracking else ""
    relay = Relay(settings, act, os.environ.get("FLIGHTLINE_RELAY_URL") or own, note)
    with listening(settings.relay_port, RELAY_PORT_VARIABLE, "the relay", relay.routes()):
        note(f"listening at http://127.0.0.1:{settings.relay_port}{PATH}")
        relay.run()
    return OK


def _concerns(delivery: Delivery, settings: Settings) -> bool:
    """Whether the alias is production's, or is meant to be."""
    alias = settings.environment(PRODUCTION).alias
    return alias in {delivery.alias, rules.look_alike(delivery.alias, settings)}


def _about(delivery: Delivery) -> str:
    return f"'{delivery.alias}' of {delivery.model} (delivery {delivery.id})"


if __name__ == "__main__":
    command(main)
