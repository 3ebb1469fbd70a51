"""A real S3 server in a process of its own, from its own locked environment."""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import s3fs

from tests.serving.locked import locked
from tests.serving.real import START_SECONDS, free_port, until

BUCKET = "releases"


@contextmanager
def object_store(folder: Path) -> Iterator[dict[str, str]]:
    """Start it; gives the variables by which any S3 client finds it and is let in."""
    place = locked("object_store")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with (folder / "object-store.txt").open("wb") as output:
        command = [str(place / "bin/moto_server"), "-H", "127.0.0.1", "-p", str(port)]
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        until(lambda: process.poll() is not None or _answers(url), START_SECONDS, "an object store")
        assert process.poll() is None, (folder / "object-store.txt").read_text()
        yield {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "anybody",
            "AWS_SECRET_ACCESS_KEY": "anything",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
    finally:
        process.terminate()
        process.wait(20)


def put(store: Mapping[str, str], release: Path) -> str:
    """Upload a release directory; returns its URI."""
    system = s3fs.S3FileSystem(
        key=store["AWS_ACCESS_KEY_ID"],
        secret=store["AWS_SECRET_ACCESS_KEY"],
        endpoint_url=store["AWS_ENDPOINT_URL"],
        skip_instance_cache=True,
    )
    if not system.exists(BUCKET):
        system.mkdir(BUCKET)
    for path in sorted(path for path in release.rglob("*") if path.is_file()):
        system.pipe(f"{BUCKET}/{release.name}/{path.relative_to(release)}", path.read_bytes())
    return f"s3://{BUCKET}/{release.name}"


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).status_code < 500
    except httpx.TransportError:
        return False
