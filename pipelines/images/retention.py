"""Which images of a model stay, and the removal of the others; the model files stay in any case."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from contract.errors import FlightlineError
from pipelines.delivery.kept import kept
from pipelines.delivery.registry import Registry
from pipelines.images.docker import Docker
from pipelines.images.making import DIGEST, MODEL, VERSION, image_name
from pipelines.images.records import IMAGE
from pipelines.images.workshop import Workshop
from pipelines.machine.settings import Settings


@dataclass(frozen=True)
class Released:
    """A model's image under its release's name."""

    version: str
    digest: str  # of the bundle


@dataclass(frozen=True)
class Pruned:
    """What was removed, what stays, and why what should have gone does not."""

    removed: tuple[str, ...]
    stays: tuple[str, ...]
    unwilling: tuple[str, ...] = ()


def superfluous(images: Sequence[Released], needed: Collection[str], keep: int) -> tuple[Released, ...]:
    """Those of one model's `images` to remove: none of its `keep` newest versions or of a `needed` digest."""
    newest_first = sorted(images, key=lambda image: int(image.version), reverse=True)
    return tuple(image for image in newest_first[keep:] if image.digest not in needed)


def needed(model: str, registry: Registry, settings: Settings) -> frozenset[str]:
    """The digests that are live, that a rollback or a service may ask for, or that an alias names.

    Raises:
        FlightlineError: the ledger, a desired state or MLflow cannot be read; nothing is known then.
    """
    named = {registry.by_number(model, version).digest for version in registry.aliases(model).values()}
    return kept(settings) | named


def prune(model: str, registry: Registry, shop: Workshop, also: Collection[str] = ()) -> Pruned:
    """Remove the images of `model` that nobody needs any more; `also` has digests that stay.

    One that a container uses stays, and is said.

    Raises:
        FlightlineError: it is not known which images are needed; none is removed then.
    """
    found = _released(model, shop.docker)
    protected = needed(model, registry, shop.settings) | frozenset(also)
    gone = superfluous(found, protected, shop.images.keep)
    removed: list[str] = []
    unwilling: list[str] = []
    for image in gone:
        name = image_name(model, image.version)
        try:
            shop.docker.remove(name)
        except FlightlineError as error:
            unwilling.append(f"{name} ({error.found})")
            shop.say(f"{name} stays: {error.found}")
            continue
        removed.append(name)
        for version in registry.versions(model):
            if version.version == image.version:
                registry.untag(version, IMAGE)
    if removed:
        shop.say(f"removed {', '.join(removed)}, which nobody goes back to; their model files stay")
    stays = tuple(image_name(model, image.version) for image in found if image not in gone)
    return Pruned(tuple(removed), stays, tuple(unwilling))


def _released(model: str, docker: Docker) -> list[Released]:
    """The images of `model` that have their release's name; a candidate under test has none."""
    return [
        Released(image.labels[VERSION], image.labels[DIGEST])
        for image in docker.labelled(f"{MODEL}={model}")
        if image_name(model, image.labels.get(VERSION, "")) in image.tags
    ]
