"""What is kept of an image, where it is pushed to, and what a version says about it."""

import dataclasses
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from contract.errors import FlightlineError
from pipelines import image
from pipelines.delivery.registry import Version
from pipelines.delivery.releases import Release
from pipelines.images import records
from pipelines.images.docker import Image
from pipelines.images.making import Made, UntestedError
from pipelines.images.retention import Pruned
from pipelines.images.workshop import Workshop
from pipelines.machine.settings import Settings
from pipelines.staging.checks import Check
from tests.pipelines.images.conftest import COMMIT, quiet

pytestmark = pytest.mark.unit

MOMENT = datetime(2013, 4, 1, 12, tzinfo=UTC)
LATER = datetime(2013, 5, 1, 12, tzinfo=UTC)
BUILT = Image("sha256:1", ("flightline-toy:1",), {}, "10001:10001", ("l",), 500, ())
PASSED = Check("golden answers", passed=True, seen="4 rows")
MADE = Made("flightline-toy:1", BUILT, "flightline-serving:abc", "abc", created=True, checks=(PASSED,))


def kept_at(settings: Settings) -> Path:
    """Where the record of a released image is."""
    return settings.var / "images" / "toy" / "1.json"


def version(release: Release, **tags: str) -> Version:
    """The registered version of a release."""
    return Version(release.bundle.model, "1", release.bundle.digest, "run", tags, ())


def test_a_record_says_what_when_and_from_where(release: Callable[..., Release], shop: Workshop) -> None:
    """The time is the caller's; the commit is the one that the model was trained from."""
    held = release()
    records.keep(records.released(MADE, held, "1", MOMENT), shop.settings)
    kept = json.loads(kept_at(shop.settings).read_bytes())
    assert (kept["result"], kept["at"], kept["commit"]) == ("released", "2013-04-01T12:00:00+00:00", COMMIT)
    assert (kept["digest"], kept["id"], kept["size"]) == (held.bundle.digest, "sha256:1", 500)
    assert [check["name"] for check in kept["checks"]] == ["golden answers"]


def test_looking_again_does_not_lose_what_was_seen(release: Callable[..., Release], shop: Workshop) -> None:
    """An image that was there already was not tested again: the record of its tests stays."""
    held = release()
    records.keep(records.released(MADE, held, "1", MOMENT), shop.settings)
    again = dataclasses.replace(MADE, created=False, checks=())
    records.keep(records.released(again, held, "1", LATER), shop.settings)
    kept = json.loads(kept_at(shop.settings).read_bytes())
    assert (kept["at"], len(kept["checks"])) == ("2013-04-01T12:00:00+00:00", 1)


def test_the_version_says_which_image_it_has_once(release: Callable[..., Release]) -> None:
    """A tag that says so already is not written again, and where it was pushed to is not forgotten."""
    held, written = release(), {}
    registry: Any = SimpleNamespace(tag=lambda _, key, value: written.update({key: value}))
    pushed = records.released(MADE, held, "1", MOMENT, "registry.example/flightline-toy@sha256:2")
    records.note(pushed, registry, version(held))
    tag = json.loads(written.pop(records.IMAGE))
    assert tag == {"name": MADE.name, "id": "sha256:1", "pushed": pushed.pushed, "at": pushed.at}
    seen = version(held, **{records.IMAGE: json.dumps(tag)})
    records.note(records.released(MADE, held, "1", LATER), registry, seen)
    assert written == {}


class Shelf:
    """An engine that pushes, and tells the digest or does not."""

    def __init__(self, digest: str = "sha256:2") -> None:
        """Push to anywhere."""
        self.digest = digest
        self.tags: list[str] = []
        self.pushed: list[str] = []

    def tag(self, _: str, tag: str) -> None:
        """Remember it."""
        self.tags.append(tag)

    def call(self, *words: str, **_: object) -> str:
        """Push."""
        assert words[:2] == ("push", "--quiet")
        self.pushed.append(words[2])
        return ""

    def image(self, name: str) -> Image:
        """With the digests of all places that it was pushed to."""
        place = name.rpartition(":")[0]
        told = (f"other.example/x@{self.digest}", *([f"{place}@{self.digest}"] if self.digest else []))
        return dataclasses.replace(BUILT, pushed=told)

    def remove(self, name: str) -> None:
        """Forget it."""
        self.tags.remove(name)


def test_a_push_returns_what_manifests_name(shop: Workshop) -> None:
    """Both images go; the digest is that of the place pushed to; no further tag stays here."""
    shelf: Any = Shelf()
    found = image.push(MADE, "registry.example/team/", dataclasses.replace(shop, docker=shelf))
    assert found == "registry.example/team/flightline-toy@sha256:2"
    assert shelf.pushed == [
        "registry.example/team/flightline-serving:abc",
        "registry.example/team/flightline-toy:1",
    ]
    assert shelf.tags == []


def test_a_push_without_a_digest_is_none(shop: Workshop) -> None:
    """A tag alone may mean another image tomorrow."""
    shelf: Any = Shelf(digest="")
    with pytest.raises(FlightlineError, match="told no digest"):
        image.push(MADE, "registry.example", dataclasses.replace(shop, docker=shelf))
    assert shelf.tags == []


@pytest.fixture
def command(release: Callable[..., Release], shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command without an engine and a registry: `done` lists what was called."""
    held = release()
    state = SimpleNamespace(done=[], held=held, settings=shop.settings, make=lambda: MADE)
    registry = SimpleNamespace(tag=lambda *_: state.done.append("note"))

    def make(*_: object) -> Made:
        state.done.append("make")
        made: Made = state.make()
        return made

    def fetched(*_: object) -> Release:
        state.done.append("fetch")
        return held

    def pruned(*_: object, also: tuple[str, ...]) -> Pruned:
        assert also == (held.bundle.digest,)
        state.done.append("prune")
        return Pruned((), ())

    monkeypatch.setattr("pipelines.images.docker.Docker.architecture", lambda _: "x86_64")
    monkeypatch.setattr(image, "connect", lambda _: registry)
    monkeypatch.setattr(image, "find", lambda *_: version(held))
    monkeypatch.setattr(image, "fetch", fetched)
    monkeypatch.setattr(image, "require_gates", lambda _: state.done.append("gates"))
    monkeypatch.setattr(image, "make", make)
    monkeypatch.setattr(image, "prune", pruned)
    return state


def test_the_release_is_verified_before_anything_is_built(command: Any) -> None:
    """Fetched, which verifies; its gates; built and tested; noted; then old ones are removed."""
    done = image.image("toy@1", command.settings, at=MOMENT, say=quiet)
    assert command.done == ["fetch", "gates", "make", "note", "prune"]
    assert done.record.at == "2013-04-01T12:00:00+00:00"


def test_a_refused_release_is_not_built(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed gate that somebody accepted all the same."""

    def failed(_: object) -> None:
        raise FlightlineError("G03 failed", "no failed gate", "Train a better model")

    monkeypatch.setattr(image, "require_gates", failed)
    with pytest.raises(FlightlineError, match="G03 failed"):
        image.image("toy@1", command.settings, say=quiet)
    assert command.done == ["fetch"]


def test_a_refused_image_is_recorded_and_nothing_else_follows(command: Any) -> None:
    """What was seen is kept; the version gets no tag, and no old image goes for it."""

    def untested() -> Made:
        raise UntestedError(
            "it failed", "every check", "Correct it", (Check("user", passed=False, seen="root"),)
        )

    command.make = untested
    with pytest.raises(UntestedError):
        image.image("toy@1", command.settings, at=MOMENT, say=quiet)
    assert command.done == ["fetch", "gates", "make"]
    where = command.settings.var / "images" / "toy" / "1.refused.json"
    kept = json.loads(where.read_bytes())
    assert (kept["result"], kept["id"], kept["checks"][0]["seen"]) == ("refused", "", "root")
    assert not kept_at(command.settings).exists()
    command.make = lambda: MADE
    image.image("toy@1", command.settings, say=quiet)
    assert kept_at(command.settings).exists()
    assert not where.exists()
