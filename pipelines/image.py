"""Make the image of a registered version: `python -m pipelines.image MODEL@VERSION`.

The release is verified as a deployment verifies it, built into an image on top of the generic server, and
tested as a container: read-only, without root, capabilities or a network. Only then is it called
`flightline-MODEL:VERSION`. Older images that nobody goes back to are removed; `--prune` does only that. The
model file stays in the registry in any case.
"""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from contract.errors import ConfigError, FlightlineError
from pipelines.cli import OK, command, json_option, parser
from pipelines.delivery.keys import ensure_keys
from pipelines.delivery.registry import connect
from pipelines.delivery.releases import fetch, require_gates
from pipelines.images import records
from pipelines.images.declared import read_images
from pipelines.images.docker import LONG_S
from pipelines.images.making import SERVING, Made, UntestedError, image_name, make
from pipelines.images.records import Record
from pipelines.images.retention import Pruned, prune
from pipelines.images.workshop import Workshop
from pipelines.machine.processes import Say
from pipelines.machine.progress import showing
from pipelines.machine.settings import Settings
from pipelines.reproducing.origin import find


@dataclass(frozen=True)
class Done:
    """An image that is released, and what was removed for it."""

    record: Record
    pruned: Pruned


def image(
    name: str, settings: Settings, *, repository: str = "", at: datetime | None = None, say: Say = print
) -> Done:
    """Make, test, name and record the image of `MODEL@VERSION` or `MODEL@ALIAS`; push it, if told where.

    Safe to run again: an image with this model and this code is not built a second time.

    Raises:
        FlightlineError: the version does not verify, the image does not pass, or there is no engine.
    """
    shop = Workshop(read_images(), settings, say)
    shop.docker.architecture()  # before anything is fetched: is there an engine?
    registry = connect(settings)
    ensure_keys(settings.keys)
    version = find(registry, name)
    release = fetch(registry, version, settings)
    require_gates(release)
    moment = at or datetime.now(UTC)
    try:
        made = make(release, version.version, shop)
    except UntestedError as error:
        what = image_name(version.model, version.version)
        records.keep(records.refused(what, error.checks, release, version.version, moment), settings)
        raise
    pushed = push(made, repository, shop) if repository else ""
    record = records.released(made, release, version.version, moment, pushed)
    records.keep(record, settings)
    records.note(record, registry, version)
    digest = release.bundle.digest
    return Done(record, prune(version.model, registry, shop, also=(digest,)))


def push(made: Made, repository: str, shop: Workshop) -> str:
    """Push the image and the generic one to where docker is logged in; REPOSITORY@DIGEST of the image.

    Raises:
        FlightlineError: the registry refuses.
    """
    docker, found = shop.docker, ""
    for name in (made.serving, made.name):
        target = f"{repository.rstrip('/')}/{name}"
        docker.tag(name, target)
        try:
            docker.call("push", "--quiet", target, seconds=LONG_S)
            image = docker.image(target)
        finally:
            docker.remove(target)
        where = target.rpartition(":")[0]
        digests = [item for item in image.pushed if item.startswith(f"{where}@")] if image else []
        if not digests:
            raise FlightlineError(
                f"{where} took {name} and told no digest", "one to deploy by", "Look at the registry"
            )
        found = digests[0]
        shop.say(f"pushed {found}")
    return found


def main(argv: list[str] | None = None) -> int:
    """Make one image, or remove old ones."""
    given = parser("image", __doc__, "image iris@challenger")
    given.add_argument("version", nargs="?", metavar="MODEL@VERSION", help="a number, or an alias")
    given.add_argument("--prune", metavar="MODEL", help="only remove images that nobody goes back to")
    given.add_argument(
        "--push",
        default="",
        metavar="REPOSITORY",
        help=f"as REPOSITORY/{SERVING} and REPOSITORY/flightline-MODEL",
    )
    json_option(given)
    options = given.parse_args(argv)
    if bool(options.version) == bool(options.prune):
        raise ConfigError("neither or both are named", "MODEL@VERSION or --prune MODEL", "Give one of them")
    settings = Settings.from_environment()
    with showing(f"image {options.version or options.prune}", as_json=options.json) as say:
        if options.prune:
            shop = Workshop(read_images(), settings, say)
            shop.docker.architecture()
            pruned = prune(options.prune, connect(settings), shop)
            found = asdict(pruned)
            if not pruned.removed:
                say(f"{options.prune}: nothing to remove, {len(pruned.stays)} image(s) stay")
        else:
            found = asdict(image(options.version, settings, repository=options.push, say=say))
    if options.json:
        print(json.dumps(found))
    return OK


if __name__ == "__main__":
    command(main)
