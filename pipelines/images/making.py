"""From a verified release to an image that has been tried: the generic server, then the model on top of it.

While an image is untested it has a candidate's tag, which no manifest names, and which is gone at the end.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from contract.errors import FlightlineError
from contract.locks import exclusive
from pipelines.delivery.releases import Release
from pipelines.images import context
from pipelines.images.dependencies import platform, requirements, tree
from pipelines.images.docker import LONG_S, Image
from pipelines.images.trying import How, Trial, failures, try_image
from pipelines.images.workshop import Workshop
from pipelines.machine.files import scratch
from pipelines.machine.progress import step
from pipelines.machine.settings import ROOT
from pipelines.staging.checks import Check
from pipelines.track import lineage

SERVING = "flightline-serving"
CANDIDATE = "candidate"
SHORT = 12  # hex digits of a hash that tell two of them apart
MODEL, VERSION, DIGEST, CONTRACT, CODE = (
    f"io.flightline.{name}" for name in ("model", "version", "digest", "contract", "code")
)
WAIT_S = 900.0  # for another build, which may install and compile


class UntestedError(FlightlineError):
    """An image that did not pass, with all that was seen of it."""

    def __init__(self, found: str, expected: str, remedy: str, checks: Sequence[Check]) -> None:
        """Keep the checks."""
        super().__init__(found, expected, remedy)
        self.checks = tuple(checks)


@dataclass(frozen=True)
class Generic:
    """The generic server image."""

    name: str  # the tag that it has, or will have once it was tried
    current: str  # the tag that it has now
    code: str  # the sha256 of all that it is made from

    @property
    def tested(self) -> bool:
        """Whether it has passed before."""
        return self.current == self.name


@dataclass(frozen=True)
class Made:
    """An image of a model, tested, and the generic one that it stands on."""

    name: str
    image: Image
    serving: str  # the generic image's name
    code: str
    created: bool  # False: it was there already, and has the same model and the same code
    checks: tuple[Check, ...]


def image_name(model: str, version: str) -> str:
    """The name under which an image is released."""
    return f"flightline-{model}:{version}"


def make(release: Release, version: str, shop: Workshop) -> Made:
    """The tested image of `release`, as `version`; built, unless the same model and code have one.

    Raises:
        UntestedError: it did not pass; nothing has a release's tag that had none before.
        FlightlineError: it could not be built.
    """
    with exclusive(shop.settings.var / "images" / ".lock", "building of an image", WAIT_S):
        return _Making(release, version, shop).done()


@dataclass(frozen=True)
class _Making:
    """One image under way."""

    release: Release
    version: str
    shop: Workshop

    def done(self) -> Made:
        with self._generic() as generic:
            name = image_name(self.release.bundle.model, self.version)
            before = self.shop.docker.image(name)
            if before is not None and self._same(before, generic):
                self.shop.say(f"{name} was built already, with this model and this code")
                return Made(name, before, generic.name, generic.code, created=False, checks=())
            with self._candidate(generic) as candidate:
                checks = self._tried(candidate, generic)
                self.shop.docker.tag(generic.current, generic.name)
                self.shop.docker.tag(candidate, name)
        image = self.shop.docker.image(name)
        if image is None:
            raise FlightlineError(f"{name} is gone", "the image that was just built", "Run this again")
        if before is not None and before.id != image.id:
            self._let_go(before)
        self.shop.say(f"{name} passed {len(checks)} checks and is released ({image.size / 1e6:.0f} MB)")
        return Made(name, image, generic.name, generic.code, created=True, checks=checks)

    @contextmanager
    def _generic(self) -> Iterator[Generic]:
        """The generic image, built unless it is there; without its candidate's tag afterwards."""
        docker, images = self.shop.docker, self.shop.images
        target = platform(docker.architecture(), images)
        base, wanted, modules = self._base(), requirements(), context.code(ROOT)
        entries: list[context.Entry] = [(context.SERVING, recipe(context.SERVING)), *modules]
        more = (recipe(context.MODEL).decode(), base.id, wanted, target, images.python)
        code = context.fingerprint(entries, *more)
        name = f"{SERVING}:{code[:SHORT]}"
        if docker.image(name) is not None:
            yield Generic(name, name, code)
            return
        step(self.shop.say, "installing what a server needs")
        entries += context.dependencies(tree(wanted, target, images, self.shop.settings))
        candidate = f"{SERVING}:{CANDIDATE}"
        step(self.shop.say, f"building {name}")
        try:
            arguments = {
                "BASE_IMAGE": images.base,
                "PYTHON_VERSION": images.python,
                "CODE": code,
                "REVISION": revision(),
            }
            self._build(entries, candidate, context.SERVING, arguments)
            yield Generic(name, candidate, code)
        finally:
            docker.remove(candidate)

    @contextmanager
    def _candidate(self, generic: Generic) -> Iterator[str]:
        """The model's image, not yet tried; without its candidate's tag afterwards."""
        bundle = self.release.bundle
        name = image_name(bundle.model, f"{CANDIDATE}-{self.version}")
        step(self.shop.say, f"building {image_name(bundle.model, self.version)}")
        arguments = {
            "SERVING_IMAGE": generic.current,
            "MODEL": bundle.model,
            "VERSION": self.version,
            "DIGEST": bundle.digest,
            "CONTRACT": bundle.contract.fingerprint,
        }
        try:
            entries = [(context.MODEL, recipe(context.MODEL)), *context.release(self.release)]
            self._build(entries, name, context.MODEL, arguments)
            yield name
        finally:
            self.shop.docker.remove(name)

    def _build(
        self, entries: Sequence[context.Entry], tag: str, file: str, arguments: Mapping[str, str]
    ) -> None:
        with scratch(self.shop.settings.var / "images") as folder:
            with (folder / "context.tar").open("wb") as archive:
                context.write(entries, archive)
            with (folder / "context.tar").open("rb") as archive:
                given = {**arguments, "SOURCE_DATE_EPOCH": str(context.EPOCH)}
                self.shop.docker.build(archive, tag, file, given if file == context.SERVING else arguments)

    def _tried(self, candidate: str, generic: Generic) -> tuple[Check, ...]:
        """What was seen of the model's image, and of a new generic one that loads the same model.

        Raises:
            UntestedError: one of them did not pass.
        """
        found = [self._built(candidate, generic)]
        ways: list[tuple[str, How]] = [(candidate, "in the image")]
        if not generic.tested:
            ways.append((generic.current, "loaded"))
        for image, how in ways:
            if not failures(found):
                step(self.shop.say, f"testing it, with the model {how}")
                trial = Trial(image, self.release, self.version, how)
                found += try_image(trial, self.shop)
        if failed := failures(found):
            what = image_name(self.release.bundle.model, self.version)
            raise UntestedError(
                f"the image of {what} failed its tests: {failed}",
                "every check to pass",
                "Correct what it says; no image was released",
                found,
            )
        return tuple(found)

    def _built(self, candidate: str, generic: Generic) -> Check:
        """Whether the image is the generic one, one layer more, and says which model that holds."""
        image, below = self.shop.docker.image(candidate), self.shop.docker.image(generic.current)
        seen = "there is none"
        if image is not None and below is not None:
            wrong = [name for name, value in self._labels(generic).items() if image.labels.get(name) != value]
            seen = f"its labels {', '.join(wrong)} are of something else" if wrong else ""
            if image.layers[:-1] != below.layers:
                seen = "it does not stand on the generic image"
        return Check("layers and labels", not seen, seen or "the generic image, and one layer")

    def _labels(self, generic: Generic) -> dict[str, str]:
        bundle = self.release.bundle
        return {
            MODEL: bundle.model,
            VERSION: self.version,
            DIGEST: bundle.digest,
            CONTRACT: bundle.contract.fingerprint,
            CODE: generic.code,
        }

    def _same(self, image: Image, generic: Generic) -> bool:
        return self._labels(generic).items() <= image.labels.items()

    def _base(self) -> Image:
        """The base image, fetched if it is not here: by its id, a changed one makes another server."""
        found = self.shop.docker.image(self.shop.images.base)
        if found is None:
            step(self.shop.say, f"fetching {self.shop.images.base}")
            self.shop.docker.call("pull", "--quiet", self.shop.images.base, seconds=LONG_S)
            found = self.shop.docker.image(self.shop.images.base)
        if found is None:
            raise FlightlineError(
                f"there is no image {self.shop.images.base}", "the base image", "Correct infra/images.yaml"
            )
        return found

    def _let_go(self, before: Image) -> None:
        """Remove an image that has lost its tag to a newer one of the same version."""
        try:
            self.shop.docker.remove(before.id)
        except FlightlineError as error:
            self.shop.say(f"the image that it replaces stays: {error.found}")


def recipe(name: str) -> bytes:
    """A Dockerfile of this repository."""
    return (ROOT / "infra" / "docker" / name).read_bytes()


def revision() -> str:
    """The commit of the code that goes into the image; with a mark where it is not all committed."""
    source = lineage(ROOT)
    return source.commit + ("-dirty" if source.dirty else "")
