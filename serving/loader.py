"""Fetch a release into a shared volume: `python -m serving.loader --from URI --to DIR`.

With `--desired FILE` all that a desired state names, each from the folder of URI that has its digest's name.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from contract.attestation import Trust, read_trust
from contract.bundle import Bundle
from contract.errors import FlightlineError
from contract.release import open_release
from contract.strict import decode_json
from serving.models.desired import Desired


def fetch(uri: str, into: Path, trust: Trust, digest: str | None = None) -> Bundle:
    """Copy the release directory at `uri` to `into`, verified; return its bundle.

    `uri` is a path, file://, s3://, or of another scheme that fsspec has a driver for; `digest` the bundle it
    must hold. `into` appears at once and whole, or not at all, and is left alone where it already holds that
    bundle: whichever of several loaders comes first, all of them succeed.

    Raises:
        FlightlineError: the release cannot be fetched, is not trusted, or is not the bundle `digest`.
    """
    with _fetched(uri, into.parent, trust, digest) as (release, bundle):
        _publish(release, into)
    return open_release(into, bundle.digest, trust)


def fetch_named(uri: str, folder: Path, trust: Trust, digest: str | None = None) -> Path:
    """As `fetch`, into a folder of `folder` that is named by the bundle's digest; return that folder.

    With a `digest` nothing is fetched where the folder of that name already holds the bundle.

    Raises:
        FlightlineError: as of `fetch`.
    """
    if digest is not None and (folder / digest).is_dir():
        open_release(folder / digest, digest, trust)
        return folder / digest
    with _fetched(uri, folder, trust, digest) as (release, bundle):
        _publish(release, folder / bundle.digest)
    open_release(folder / bundle.digest, bundle.digest, trust)
    return folder / bundle.digest


def fetch_desired(uri: str, path: Path, trust: Trust) -> list[Bundle]:
    """Every release that the desired state in `path` names, fetched from `uri`/DIGEST to where it is named.

    Each is loaded once: what a server would refuse, for its golden answers too, is refused here,
    where the reason becomes the last word of an init container.

    Raises:
        FlightlineError: the file is no desired state, or a release cannot be served; else as of `fetch`.
    """
    from serving.models.predictor import Predictor

    try:
        desired = decode_json(path.read_bytes(), Desired, path.name)
    except OSError as error:
        raise FlightlineError(
            f"{path} cannot be read ({error.strerror})", "a desired state", "Correct --desired"
        ) from None
    base, found = uri.rstrip("/"), []
    for model in desired.models.values():
        for name, version in model.versions.items():
            release = Path(version.release)
            found.append(fetch(f"{base}/{version.digest}", release, trust, version.digest))
            Predictor.load(release, version.digest, name, trust)
    return found


@contextmanager
def _fetched(uri: str, folder: Path, trust: Trust, digest: str | None) -> Iterator[tuple[Path, Bundle]]:
    """The release directory at `uri`, copied to below `folder` and verified, for the length of the block."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder, prefix=".fetching."))
    except OSError as error:
        raise FlightlineError(
            f"{folder} cannot be written ({error.strerror})", "a writable volume", "Choose another --to"
        ) from None
    try:
        _copy(uri, temporary / "release")
        yield temporary / "release", open_release(temporary / "release", digest, trust)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _publish(release: Path, into: Path) -> None:
    """Rename `release` to `into` unless something is there: the system decides, so nobody comes between."""
    try:
        release.rename(into)
    except OSError as error:
        if not into.exists():
            raise FlightlineError(
                f"{into} cannot be written ({error.strerror})", "a writable volume", "Choose another --to"
            ) from None


def _copy(uri: str, to: Path) -> None:
    import fsspec  # type: ignore[import-untyped]  # it ships no types

    source = uri if "://" in uri else Path(uri).absolute().as_uri()
    try:
        system, path = fsspec.core.url_to_fs(source)
        found = system.isdir(path)
        if found:
            system.get(path.rstrip("/") + "/", str(to) + "/", recursive=True)
    except Exception as error:  # noqa: BLE001 - the driver of each store has errors of its own
        text = " ".join(str(error).split())[:200]
        raise FlightlineError(
            f"{uri} cannot be fetched ({text})", "a release directory", "Correct MODEL_URI"
        ) from None
    if not found:
        raise FlightlineError(f"{uri} is not a folder", "a release directory", "Correct MODEL_URI")


def main(arguments: list[str] | None = None) -> int:
    """Fetch, verify and say what arrived."""
    environment = os.environ.get
    parser = argparse.ArgumentParser(prog="python -m serving.loader", description=__doc__)
    parser.add_argument("--from", dest="uri", default=environment("MODEL_URI"), help="or MODEL_URI")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--to", type=Path, help="the folder to make")
    where.add_argument("--desired", type=Path, help="a desired state that names the folders to make")
    parser.add_argument("--digest", default=environment("MODEL_DIGEST"), help="or MODEL_DIGEST")
    parser.add_argument("--trust", default=environment("FLIGHTLINE_TRUST"), help="or FLIGHTLINE_TRUST")
    given = parser.parse_args(arguments)
    for name, value in (("--from", given.uri), ("--trust", given.trust)):
        if not value:
            raise FlightlineError(f"{name} is missing", "a value", f"Give {name} or its variable")
    trust = read_trust(Path(given.trust))
    if given.desired is not None:
        for bundle in fetch_desired(given.uri, given.desired, trust):
            print(f"{bundle.model} {bundle.digest} is in {bundle.path.parent}")
        return 0
    bundle = fetch(given.uri, given.to.absolute(), trust, given.digest)
    print(f"{bundle.model} {bundle.digest} is in {given.to}")
    return 0


if __name__ == "__main__":
    try:
        code = main()
    except FlightlineError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)
