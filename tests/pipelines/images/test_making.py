"""Names are given and taken away in the right order, whatever happens in between (R5)."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import pytest

from contract.errors import FlightlineError
from pipelines.delivery.releases import Release
from pipelines.images import context, making
from pipelines.images.docker import Docker, Image, NoSuchError
from pipelines.images.making import CODE, SERVING, UntestedError, make
from pipelines.images.trying import Trial
from pipelines.images.workshop import Workshop
from pipelines.staging.checks import Check

pytestmark = pytest.mark.unit

BASE = Image("base", ("python:3.11-slim-bookworm",), {}, "", ("base",), 100, ())
LABELS = {"MODEL": "model", "VERSION": "version", "DIGEST": "digest", "CONTRACT": "contract", "CODE": "code"}


class Engine(Docker):
    """An engine in memory: an image is a layer on top of another, and goes with its last tag."""

    def __init__(self) -> None:
        """With a base image."""
        self.images: dict[str, Image] = {BASE.tags[0]: BASE}
        self.built: list[str] = []
        self.used: set[str] = set()

    def architecture(self) -> str:
        """A usual one."""
        return "x86_64"

    def image(self, name: str) -> Image | None:
        """By tag."""
        found = self.images.get(name)
        tags = tuple(tag for tag, image in self.images.items() if image is found)
        return dataclasses.replace(found, tags=tags) if found else None

    def build(self, context: IO[bytes], tag: str, file: str, arguments: Mapping[str, str]) -> None:
        """One layer on top of what the arguments name."""
        below = self.images[arguments.get("SERVING_IMAGE") or arguments["BASE_IMAGE"]]
        own = {f"io.flightline.{LABELS[name]}": value for name, value in arguments.items() if name in LABELS}
        layer = hashlib.sha256(context.read() + repr((below, own)).encode()).hexdigest()
        labels = {**below.labels, **own}
        self.images[tag] = Image(layer, (), labels, "10001:10001", (*below.layers, layer), 1, ())
        self.built.append(file)

    def tag(self, name: str, tag: str) -> None:
        """Also where another image had that tag."""
        self.images[tag] = self.images[name]

    def remove(self, name: str) -> None:
        """By tag or id."""
        if name in self.used:
            raise FlightlineError("a container uses it", "none", "Stop it")
        tags = [tag for tag, image in self.images.items() if name in {tag, image.id}]
        for tag in tags:
            del self.images[tag]

    def call(self, *words: str, **_: Any) -> str:
        """Only a base image can be fetched."""
        if words[:2] != ("pull", "--quiet"):
            raise NoSuchError(" ".join(words), "", "")
        self.images[words[2]] = BASE
        return ""

    @property
    def names(self) -> set[str]:
        """All tags but the base image's."""
        return {tag for tag in self.images if tag not in BASE.tags}


@dataclasses.dataclass
class Place:
    """Where images are made without an engine; `verdict` is what trying one finds."""

    shop: Workshop
    engine: Engine
    said: list[str]
    tried: list[Trial] = dataclasses.field(default_factory=list)
    verdict: Callable[[Trial], bool] = lambda _: True
    code: bytes = b"1"

    def make(self, release: Release, version: str = "1") -> making.Made:
        """Make an image."""
        return make(release, version, self.shop)


@pytest.fixture
def place(shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """One; libraries and the code of the server are a file each."""
    engine, said = Engine(), []
    found = Place(Workshop(shop.images, shop.settings, said.append, engine), engine, said)
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "six.py").write_text("six")

    def tried(trial: Trial, _: Workshop) -> tuple[Check, ...]:
        assert trial.image in engine.images
        found.tried.append(trial)
        return (Check("golden answers", passed=found.verdict(trial), seen="4 rows"),)

    monkeypatch.setattr(making, "try_image", tried)
    monkeypatch.setattr(making, "requirements", lambda: "six==1 --hash=sha256:0")
    monkeypatch.setattr(making, "tree", lambda *_: tmp_path / "tree")
    monkeypatch.setattr(making, "revision", lambda: "c" * 40)
    monkeypatch.setattr(context, "code", lambda _: [("code/opt/flightline/code/a.py", found.code)])
    yield found
    assert not [name for name in engine.names if "candidate" in name]


def generic(place: Place) -> list[str]:
    """The names of generic images."""
    return sorted(name for name in place.engine.names if name.startswith(SERVING))


def test_a_new_server_is_tested_both_ways_and_the_next_model_only_in_the_image(
    place: Place, release: Callable[..., Release]
) -> None:
    """The generic image is named once it has served a model that it loaded (R6)."""
    first = place.make(release())
    assert [trial.how for trial in place.tried] == ["in the image", "loaded"]
    assert generic(place) == [first.serving]
    second = place.make(release(model="other"))
    assert [trial.how for trial in place.tried] == ["in the image", "loaded", "in the image"]
    assert (second.serving, place.engine.built.count(context.SERVING)) == (first.serving, 1)


def test_an_image_that_is_there_is_not_built_again(place: Place, release: Callable[..., Release]) -> None:
    """Same model, same code; of another release under this number it is built."""
    held = release()
    assert place.make(held).created
    again = place.make(held)
    assert (again.created, again.checks, place.engine.built.count(context.MODEL)) == (False, (), 1)
    assert place.make(release(seed=1)).created
    assert place.engine.built.count(context.MODEL) == 2


def test_other_code_replaces_the_image_of_a_version(place: Place, release: Callable[..., Release]) -> None:
    """And the server beneath; the image that has lost its name goes, unless a container uses it."""
    held = release()
    first = place.make(held)
    place.code = b"2"
    second = place.make(held)
    assert second.created
    assert second.name == first.name
    assert second.serving != first.serving
    assert second.image.labels[CODE] != first.image.labels[CODE]
    place.code, place.engine.used = b"3", {second.image.id}
    assert place.make(held).created
    assert any("the image that it replaces stays" in text for text in place.said)


@pytest.mark.parametrize("how", ["in the image", "loaded"])
def test_neither_has_a_name_while_one_of_them_fails(
    place: Place, release: Callable[..., Release], how: str
) -> None:
    """What fails in one way is not released in the other."""
    place.verdict = lambda trial: trial.how != how
    with pytest.raises(
        UntestedError, match=r"flightline-toy:1 failed its tests: golden answers \(4 rows\)"
    ) as raised:
        place.make(release())
    assert place.engine.names == set()
    assert raised.value.checks[-1].name == "golden answers"


def test_a_failure_leaves_the_image_that_the_version_has(
    place: Place, release: Callable[..., Release]
) -> None:
    """Newer code that does not work takes nothing away."""
    held = release()
    first = place.make(held)
    place.code, place.verdict = b"2", lambda _: False
    with pytest.raises(UntestedError):
        place.make(held)
    found = place.engine.image(first.name)
    assert found is not None
    assert found.id == first.image.id
    assert generic(place) == [first.serving]


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        ({"labels": {}}, "its labels .* are of something else"),
        ({"layers": ("another", "base", "x")}, "it does not stand on the generic image"),
    ],
)
def test_an_image_that_is_not_what_was_asked_for_is_not_even_started(
    place: Place,
    release: Callable[..., Release],
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, Any],
    seen: str,
) -> None:
    """A builder that took something else from its cache, say."""
    build = Engine.build

    def wrong(engine: Engine, archive: IO[bytes], tag: str, file: str, arguments: Mapping[str, str]) -> None:
        build(engine, archive, tag, file, arguments)
        if file == context.MODEL:
            engine.images[tag] = dataclasses.replace(engine.images[tag], **change)

    monkeypatch.setattr(Engine, "build", wrong)
    with pytest.raises(UntestedError, match=rf"layers and labels \({seen}\)"):
        place.make(release())
    assert place.tried == []
    assert place.engine.names == set()


def test_a_base_image_is_fetched_where_it_is_missing(place: Place, release: Callable[..., Release]) -> None:
    """Once; another base under the same name makes another server."""
    del place.engine.images[BASE.tags[0]]
    first = place.make(release())
    place.engine.images[BASE.tags[0]] = dataclasses.replace(BASE, id="newer")
    assert place.make(release()).serving != first.serving
