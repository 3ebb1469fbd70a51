"""Releases where pods find them: storage that this machine writes and a cluster reads."""

from pathlib import Path

from contract.errors import FlightlineError
from contract.release import ATTESTATIONS

LAST = f"{ATTESTATIONS}/manifest.json"  # without it nobody takes a release for one


def publish(release: Path, storage: str) -> bool:
    """Copy the release directory to `storage`/DIGEST unless it is there; False if it was.

    The storage need not be trusted: a loader verifies what it fetches.

    Raises:
        FlightlineError: the storage cannot be written.
    """
    import fsspec  # type: ignore[import-untyped]

    base = storage if "://" in storage else Path(storage).absolute().as_uri()
    target = f"{base.rstrip('/')}/{release.name}"
    names = sorted(path.relative_to(release).as_posix() for path in release.rglob("*") if path.is_file())
    try:
        system, root = fsspec.core.url_to_fs(target)
        if system.exists(f"{root}/{LAST}"):
            return False
        if LAST not in names:
            raise FlightlineError(
                f"{release} is not here, nor {target}",
                "a release in one of the two",
                "Deploy the version again",
            )
        for name in sorted(names, key=lambda name: name == LAST):
            system.makedirs(f"{root}/{name}".rpartition("/")[0], exist_ok=True)
            system.put_file(str(release / name), f"{root}/{name}")
    except (OSError, ValueError, ImportError) as error:
        text = " ".join(str(error).split())[:200]
        raise FlightlineError(
            f"{target} cannot be written ({text})",
            "storage that pods read",
            "Correct `releases` of the environment, or its rights",
        ) from None
    return True
