"""Which images stay (R5): the newest, and all that somebody may go back to."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import FlightlineError
from pipelines.images import retention
from pipelines.images.docker import Image
from pipelines.images.making import DIGEST, MODEL, VERSION
from pipelines.images.retention import Released, prune, superfluous
from pipelines.images.workshop import Workshop

pytestmark = pytest.mark.unit

digests = st.sampled_from([f"{number:064x}" for number in range(6)])
images = st.lists(
    st.builds(Released, st.integers(1, 30).map(str), digests), unique_by=lambda image: image.version
)


@given(images, st.frozensets(digests), st.integers(1, 8))
def test_the_rule(found: list[Released], needed: frozenset[str], keep: int) -> None:
    """What goes is neither needed nor one of the newest; all else goes, in whatever order it is found."""
    gone = superfluous(found, needed, keep)
    assert not {image.digest for image in gone} & needed
    newest = sorted((int(image.version) for image in found), reverse=True)[:keep]
    assert not {int(image.version) for image in gone} & set(newest)
    stays = [image for image in found if image not in gone]
    assert all(image.digest in needed or int(image.version) in newest for image in stays)
    assert set(superfluous(found[::-1], needed, keep)) == set(gone)
    assert superfluous(stays, needed, keep) == ()  # a second time nothing more goes


def test_versions_are_numbers() -> None:
    """Version 10 is newer than version 9."""
    found = [Released(version, f"digest-{version}") for version in ("9", "10", "2")]
    assert [image.version for image in superfluous(found, (), 1)] == ["9", "2"]


class Shelf:
    """Images of a model in an engine that is none."""

    def __init__(self, *versions: str) -> None:
        self.names = {version: f"flightline-toy:{version}" for version in versions}
        self.removed: list[str] = []

    def labelled(self, label: str) -> list[Image]:
        """All of them, and one that is being tested."""
        assert label == f"{MODEL}=toy"
        found = [
            Image(
                id=version,
                tags=(name,),
                labels={VERSION: version, DIGEST: f"digest-{version}"},
                user="1:1",
                layers=(),
                size=1,
                pushed=(),
            )
            for version, name in self.names.items()
        ]
        candidate = Image("c", ("flightline-toy:candidate-9",), {VERSION: "9", DIGEST: "d"}, "", (), 1, ())
        return [*found, candidate]

    def remove(self, name: str) -> None:
        """Remember it."""
        self.removed.append(name)


def registry(aliases: dict[str, str]) -> Any:
    """A registry in which versions are called by their number."""
    return SimpleNamespace(
        aliases=lambda _: aliases,
        by_number=lambda _, version: SimpleNamespace(digest=f"digest-{version}"),
        versions=lambda _: [],
    )


def test_what_an_alias_or_the_ledger_names_stays(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three are the newest, one is live, one has an alias; one under test is nobody's business."""
    shelf: Any = Shelf(*"1234567")
    monkeypatch.setattr(retention, "kept", lambda _: frozenset({"digest-2"}))
    place = Workshop(shop.images, shop.settings, shop.say, shelf)
    pruned = prune("toy", registry({"champion": "3"}), place)
    assert shelf.removed == ["flightline-toy:4", "flightline-toy:1"] == list(pruned.removed)
    assert len(pruned.stays) == 5


def test_nothing_goes_while_it_is_not_known_what_is_needed(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ledger that does not verify, or a registry that does not answer."""
    shelf: Any = Shelf(*"1234567")
    place = Workshop(shop.images, shop.settings, shop.say, shelf)

    def unknown(*_: object) -> frozenset[str]:
        raise FlightlineError("it does not answer", "an answer", "Ask again")

    with monkeypatch.context() as patch, pytest.raises(FlightlineError):  # noqa: PT012 - one statement, patched
        patch.setattr(retention, "kept", unknown)
        prune("toy", registry({}), place)
    broken = registry({})
    broken.aliases = unknown
    with pytest.raises(FlightlineError):
        prune("toy", broken, place)
    assert shelf.removed == []
