"""What putting a version into an environment leaves behind, on a backend that does what it is told."""

import errno
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines import ledger
from pipelines.delivery import placement
from pipelines.delivery.placement import Change, place
from pipelines.machine.settings import Settings
from serving.models.desired import Desired, DesiredModel
from tests.pipelines.delivery.conftest import quiet, settings_in

pytestmark = pytest.mark.unit


class Told:
    """A backend that serves at once whatever it is told, until its disk is full."""

    url = "http://127.0.0.1:1"

    def __init__(self) -> None:
        self.serves: dict[str, DesiredModel] = {}
        self.full = False

    def ensure(self, say: Callable[[str], None] = print) -> None:
        """It runs."""

    def running(self) -> bool:
        """Always."""
        return True

    def ready(self) -> bool:
        """Always."""
        return True

    def desired(self) -> Desired | None:
        """What it serves."""
        return Desired(generation=1, default=next(iter(self.serves), ""), models=dict(self.serves))

    def intact(self, wanted: Mapping[str, DesiredModel]) -> bool:
        """Nobody has changed it."""
        return self.serves == dict(wanted)

    def converge(self, wanted: Mapping[str, DesiredModel], exact: Collection[str] = ()) -> int:  # noqa: ARG002 - a backend's
        """Serve that, where it can be written down."""
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "desired.json")
        self.serves = dict(wanted)
        return 1


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """The backend of every environment; what a version shows there is all right."""
    made = Told()
    for name, instead in (("backend", lambda *_: made), ("_look", lambda *_: ())):
        monkeypatch.setattr(placement, name, instead)
    return made


def release(settings: Settings, digest: str) -> Any:
    """A release on this machine, as old as can be."""
    path = settings.releases / digest
    path.mkdir(parents=True)
    os.utime(path, (0, 0))
    return SimpleNamespace(path=path, bundle=SimpleNamespace(digest=digest, model="toy"))


def change(version: str) -> Change:
    """A deployment to staging."""
    return Change(environment="staging", model="toy", version=version, who="ada", why="a test")


def test_a_deployment_removes_what_no_rollback_goes_back_to(told: Told, tmp_path: Path) -> None:
    """In its end, and with what it has just put there kept."""
    settings = settings_in(tmp_path / "var")
    assert settings.environments["staging"].keep == 1
    for number in "1234":
        place(change(number), release(settings, number * 64), settings, quiet)
    assert sorted(path.name[0] for path in settings.releases.iterdir() if path.is_dir()) == ["3", "4"]
    assert told.serves["toy"].default == "4"


def test_a_disk_that_fills_up_is_said_and_not_hidden_behind_the_way_back(told: Told, tmp_path: Path) -> None:
    """Neither the version nor what ran before can be written down; the ledger has no line of it."""
    settings = settings_in(tmp_path / "var")
    place(change("1"), release(settings, "1" * 64), settings, quiet)
    told.full = True
    said: list[str] = []
    with pytest.raises(OSError, match=r"No space left.*desired\.json"):
        place(change("2"), release(settings, "2" * 64), settings, said.append)
    assert "not confirmed that what ran before does so again (there is no room for desired.json" in said[-1]
    (entry,) = ledger.read(settings.ledger)
    assert entry.after.version == "1"
