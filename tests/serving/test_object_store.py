"""Model-load: one server, and whichever model a variable names in object storage (R6)."""

import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.serving.object_store import object_store, put
from tests.serving.real import PYTHON, ROOT, free_port, running

pytestmark = [pytest.mark.slow, pytest.mark.lengthy]

ROW = {"row": {"width": 1.5, "height": 0.25, "letter": "A"}}


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Iterator[dict[str, str]]:
    """An S3 server, and who may ask it."""
    with object_store(tmp_path_factory.mktemp("store")) as found:
        yield found


def loader(*words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """The init container's command, in the environment that serves."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "FLIGHTLINE_"))}
    return subprocess.run(
        [str(PYTHON), "-m", "serving.loader", *words],
        cwd=ROOT,
        env=own | variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_loader_fetches_what_is_named_and_the_server_serves_it(store, build_release, tmp_path) -> None:
    """From s3:// into a volume, from which a server answers that knows nothing of the store."""
    release = build_release(tmp_path / "toy")
    volume, uri = tmp_path / "volume/release", put(store, release.path)
    done = loader("--to", str(volume), MODEL_URI=uri, FLIGHTLINE_TRUST=str(release.trust_file), **store)
    assert done.returncode == 0, done.stderr
    assert release.digest[:12] in done.stdout
    variables = {
        "FLIGHTLINE_STATE": str(tmp_path / "own"),
        "FLIGHTLINE_BUNDLE": str(volume),
        "MODEL_DIGEST": release.digest,
    }
    with running(tmp_path, [release], environment=variables) as server:
        assert server.client.post("/predict", json=ROW).json()["digest"] == release.digest


def test_a_server_fetches_at_its_start(store, build_release, tmp_path) -> None:
    """One image, another model: what MODEL_URI names is served, where a path would be as well."""
    release = build_release(tmp_path / "toy", seed=2)
    variables = {
        "FLIGHTLINE_STATE": str(tmp_path / "own"),
        "MODEL_URI": put(store, release.path),
        "MODEL_DIGEST": release.digest,
        **store,
    }
    with running(tmp_path, [release], environment=variables) as server:
        assert server.client.post("/predict", json=ROW).json()["digest"] == release.digest


def test_what_is_not_there_is_one_sentence(store, build_release, tmp_path) -> None:
    """And leaves nothing in the volume."""
    release, volume = build_release(tmp_path / "toy"), tmp_path / "volume"
    put(store, release.path)
    words = ("--from", "s3://releases/other", "--to", str(volume / "release"))
    done = loader(*words, FLIGHTLINE_TRUST=str(release.trust_file), **store)
    assert done.returncode == 1
    assert done.stderr.startswith("error: s3://releases/other is not a folder; expected a release directory.")
    assert not list(volume.iterdir())


def test_a_store_that_does_not_answer_is_one_sentence(store, build_release, tmp_path) -> None:
    """Its driver has errors of its own, which are no OSError."""
    release, volume = build_release(tmp_path / "toy"), tmp_path / "volume"
    nobody = {**store, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}", "AWS_MAX_ATTEMPTS": "1"}
    words = ("--from", "s3://releases/toy", "--to", str(volume / "release"))
    done = loader(*words, FLIGHTLINE_TRUST=str(release.trust_file), **nobody)
    assert done.returncode == 1
    assert done.stderr.startswith("error: s3://releases/toy cannot be fetched (Could not connect")
    assert len(done.stderr.splitlines()) == 1
    assert not list(volume.iterdir())


def test_a_release_that_was_changed_in_the_store_is_refused(store, build_release, tmp_path) -> None:
    """Whoever may write to the bucket cannot have this server run another model."""
    release, volume = build_release(tmp_path / "toy"), tmp_path / "volume"
    contract = next(release.path.rglob("contract.json"))
    contract.write_bytes(contract.read_bytes().replace(b"toy", b"boy"))
    words = ("--from", put(store, release.path), "--to", str(volume / "release"))
    done = loader(*words, FLIGHTLINE_TRUST=str(release.trust_file), **store)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert not list(volume.iterdir())
