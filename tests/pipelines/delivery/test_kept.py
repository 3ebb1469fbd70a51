"""Which releases stay on the deployer's disk."""

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from contract.errors import FlightlineError
from pipelines.delivery.kept import GRACE_S, kept, prune
from pipelines.ledger import Action, Entry, Placed, append
from pipelines.machine.settings import Settings
from serving.models import changes
from serving.models.desired import write_desired
from tests.pipelines.delivery.conftest import quiet, settings_in

pytestmark = pytest.mark.unit

START = datetime(2013, 6, 1, tzinfo=UTC)


def digest(number: int) -> str:
    """The digest of version `number`."""
    return f"{number:064d}"


def ran(settings: Settings, *steps: tuple[Action, int], environment: str = "production") -> None:
    """Write the ledger, and an old release of each version."""
    for count, (action, number) in enumerate(steps):
        release = settings.releases / digest(number)
        (release / "bundle").mkdir(parents=True, exist_ok=True)
        aged(release)
        append(
            settings.ledger,
            Entry(
                at=START + timedelta(hours=count),
                environment=environment,
                model="toy",
                action=action,
                before=None,
                after=Placed(version=str(number), digest=digest(number)),
                who="ada",
                why="a test",
                evidence="",
            ),
        )


def aged(release: Path) -> None:
    """As if it had been fetched long ago."""
    then = time.time() - 2 * GRACE_S
    os.utime(release, (then, then))


def left(settings: Settings) -> set[int]:
    """The versions whose release is there."""
    return {int(path.name) for path in settings.releases.iterdir() if path.name.isdecimal()}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A place in which production keeps five versions before the live one."""
    found = settings_in(tmp_path)
    assert found.environments["production"].keep == 5
    return found


def test_what_a_rollback_may_go_back_to_stays(settings: Settings) -> None:
    """The live one and five before it; what is older goes, and is gone whole."""
    ran(settings, *(("deploy", number) for number in range(1, 10)))
    assert len(prune(settings, quiet)) == 3
    assert left(settings) == {4, 5, 6, 7, 8, 9}
    assert not list(settings.releases.glob(".part-*"))


def test_after_a_rollback_both_directions_stay(settings: Settings) -> None:
    """Five before the one that is live now, and all that can be gone forward to."""
    ran(
        settings,
        *(("deploy", number) for number in range(1, 9)),
        ("rollback", 7),
        ("rollback", 6),
    )
    prune(settings, quiet)
    assert left(settings) == {1, 2, 3, 4, 5, 6, 7, 8}
    ran(settings, ("deploy", 9))  # which ends the way forward
    prune(settings, quiet)
    assert left(settings) == {2, 3, 4, 5, 6, 9}


def test_what_is_live_or_wanted_anywhere_stays(settings: Settings) -> None:
    """Staging's live version, and what a service is to have loaded beside it."""
    ran(settings, *(("deploy", number) for number in range(1, 10)))
    ran(settings, ("deploy", 2), environment="staging")
    path = str(settings.releases / digest(1))
    write_desired(settings.state("development"), changes.load(changes.EMPTY, "toy", "1", path, digest(1)))
    prune(settings, quiet)
    assert left(settings) == {1, 2, 4, 5, 6, 7, 8, 9}


def test_a_refused_version_holds_no_place(settings: Settings) -> None:
    """It never ran, so nobody goes back to it."""
    ran(settings, ("deploy", 1), *(("refused", number) for number in range(2, 9)))
    prune(settings, quiet)
    assert left(settings) == {1}


def test_what_was_just_fetched_stays(settings: Settings) -> None:
    """A deployment elsewhere may be about to ask for it."""
    ran(settings, ("deploy", 1))
    (settings.releases / digest(7)).mkdir()
    prune(settings, quiet)
    assert left(settings) == {1, 7}
    aged(settings.releases / digest(7))
    prune(settings, quiet)
    assert left(settings) == {1}


def test_what_is_no_release_is_left_alone(settings: Settings) -> None:
    """Only folders named by a digest are ours; a half of one that a killed command left is swept up."""
    ran(settings, ("deploy", 1))
    for name in ("notes", ".part-left"):
        (settings.releases / name).mkdir()
        aged(settings.releases / name)
    prune(settings, quiet)
    assert (settings.releases / "notes").is_dir()
    assert not (settings.releases / ".part-left").exists()


def test_with_a_ledger_that_does_not_verify_nothing_goes(settings: Settings) -> None:
    """What cannot be known to be needless is kept, and that is said."""
    ran(settings, *(("deploy", number) for number in range(1, 10)))
    settings.ledger.write_bytes(settings.ledger.read_bytes().replace(b"a test", b"a jest", 1))
    with pytest.raises(FlightlineError, match="was edited"):
        kept(settings)
    said: list[str] = []
    assert prune(settings, said.append) == ()
    assert left(settings) == set(range(1, 10))
    assert "older releases stay" in said[0]
