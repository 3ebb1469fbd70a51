"""A noted alias is moved once, from where it was seen, and only while it says what is live."""

from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

import pytest

from contract.errors import FlightlineError
from pipelines import ledger
from pipelines.delivery import aliases
from pipelines.delivery.aliases import Pending, following, settle
from pipelines.delivery.registry import REFUSED, Registry, Version
from pipelines.delivery.tracking_server import NoAnswerError
from pipelines.machine.settings import Settings
from tests.pipelines.delivery.conftest import settings_in

pytestmark = pytest.mark.unit


class Aliases(Registry):
    """The registry's own compare-and-set over one alias in memory, and an error to raise instead.

    Every version was refused once, until that is taken off it.
    """

    def __init__(self, found: str) -> None:
        """Begin with the alias on `found`."""
        self.found = found
        self.error: FlightlineError | None = None
        self.cleared: list[str] = []

    def by_number(self, model: str, version: str) -> Version:
        """A version that was refused."""
        return Version(model, version, version * 64, "a-run", {REFUSED: "it was slow"}, ())

    def untag(self, version: Version, key: str) -> None:
        """Note whose refusal goes."""
        assert key == REFUSED
        self.cleared.append(version.version)

    def aliases(self, model: str) -> dict[str, str]:  # noqa: ARG002 - there is one model
        """Alias to version."""
        return {"champion": self.found} if self.found else {}

    def set_alias(self, model: str, alias: str, version: str) -> None:  # noqa: ARG002 - and one alias
        """Move it."""
        self.found = version

    def swap_alias(self, model: str, alias: str, version: str, instead_of: Collection[str]) -> str | None:
        """As the real one does, unless it is to fail."""
        if self.error:
            raise self.error
        return super().swap_alias(model, alias, version, instead_of)


def serve(settings: Settings, version: str) -> None:
    """A line in the ledger."""
    ledger.append(
        settings.ledger,
        ledger.Entry(
            at=datetime.now(UTC),
            environment="production",
            model="toy",
            action="deploy",
            before=None,
            after=ledger.Placed(version, version * 64),
            who="",
            why="",
            evidence="",
        ),
    )


def to(version: str, *instead_of: str) -> Pending:
    """A move of the champion."""
    return Pending("production", "toy", "champion", version, instead_of)


def notes(settings: Settings) -> list[str]:
    """Names of the files that are left."""
    return sorted(path.name for path in (settings.var / "pending-aliases").glob("*"))


@pytest.fixture
def place(tmp_path: Path) -> Settings:
    """A place where version 2 is live."""
    settings = settings_in(tmp_path)
    serve(settings, "2")
    return settings


def move(place: Settings, registry: Aliases, pending: Pending, say: object = print) -> None:
    """Place the version and move the alias."""
    with following(pending, place, say, registry):  # type: ignore[arg-type]
        serve(place, pending.version)


def test_an_unanswered_move_is_made_up_for(place: Settings) -> None:
    """Two rollbacks while MLflow is down: the alias goes from where it was before the first."""
    registry = Aliases("2")
    registry.error = NoAnswerError("MLflow does not answer", "it to", "Start it")
    said: list[str] = []
    move(place, registry, to("1", "2"), said.append)
    move(place, registry, to("0", "1"), said.append)
    assert len(said) == 2
    assert notes(place) == ["production.toy.json"]
    with pytest.raises(NoAnswerError):
        settle("production", place, registry)
    registry.error = None
    settle("staging", place, registry)
    assert registry.found == "2"
    settle("production", place, registry)
    assert (registry.found, notes(place)) == ("0", [])
    assert registry.cleared == ["0"]  # it runs, and is no longer said to be refused


@pytest.mark.parametrize("clicked", ["3", "2"])
def test_a_persons_click_is_not_overwritten(place: Settings, clicked: str) -> None:
    """The note says from where the alias may be moved; it is dropped when the alias is elsewhere."""
    registry = Aliases("1")
    registry.error = NoAnswerError("MLflow does not answer", "it to", "Start it")
    move(place, registry, to("4", "1"))
    registry.error, registry.found = None, clicked
    said: list[str] = []
    settle("production", place, registry, said.append)
    assert (registry.found, notes(place)) == (clicked, [])
    assert f"moved to version {clicked} meanwhile" in said[0]


def test_a_missing_alias_is_set(place: Settings) -> None:
    """Taking an alias away decides nothing."""
    registry = Aliases("")
    move(place, registry, to("4", "1"))
    assert registry.found == "4"


def test_a_note_of_what_never_happened_is_dropped(place: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before the ledger's line: version 1 is not live, so the alias stays."""
    with monkeypatch.context() as patch:
        patch.setattr(aliases, "_is_live", lambda *_: True)  # the process had no time to withdraw it
        with pytest.raises(KeyboardInterrupt), following(to("1", "2"), place, print, Aliases("2")):
            raise KeyboardInterrupt
    assert notes(place) == ["production.toy.json"]
    registry = Aliases("2")
    settle("production", place, registry)
    assert (registry.found, notes(place)) == ("2", [])


def test_a_failure_puts_an_older_note_back(place: Settings) -> None:
    """The second rollback failed; the first is still to be told to MLflow."""
    registry = Aliases("2")
    registry.error = NoAnswerError("MLflow does not answer", "it to", "Start it")
    move(place, registry, to("1", "2"))
    with pytest.raises(FlightlineError, match="refused"), following(to("0", "1"), place, print, registry):
        raise FlightlineError("it was refused", "another", "Look")
    registry.error = None
    settle("production", place, registry)
    assert registry.found == "1"


def test_a_note_that_cannot_be_applied_is_set_aside(place: Settings) -> None:
    """A deleted version, or a file that is no note, is told once and blocks nothing."""
    registry = Aliases("2")
    registry.error = FlightlineError("version 1 does not exist", "one that does", "Register it")
    said: list[str] = []
    move(place, registry, to("1", "2"), said.append)
    (place.var / "pending-aliases" / "production.iris.json").write_bytes(b"{")
    settle("production", place, registry, said.append)
    assert [line.partition(" and ")[0] for line in said] == ["a pending alias cannot be moved"] * 2
    assert notes(place) == ["production.iris.set-aside-1", "production.toy.set-aside-1"]
    settle("production", place, registry, said.append)
    assert len(said) == 2
