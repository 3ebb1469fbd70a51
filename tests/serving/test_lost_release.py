"""The release of the default version is lost, and a worker was started again: calls mend what it serves."""

import os
import shutil
import signal
from collections.abc import Iterator

import pytest

from serving.models.desired import read_acks
from tests.serving.pairs import TWO, Pair, pair
from tests.serving.real import PYTHON, until

if not PYTHON.exists():
    pytest.skip("NO .venv-serving: `make test` makes it; lost releases go untested", allow_module_level=True)


@pytest.fixture(params=[1, 2], ids=["one-worker", "two-workers"])
def broken(request, tmp_path, build_release) -> Iterator[Pair]:
    """A service of version 1 and the default 2, which a worker that was started again cannot load."""
    command = TWO if request.param == 2 else ["serving", "--admin-port", "0"]
    made = pair(tmp_path, build_release, command, workers=request.param)
    process = next(made)
    lost = process.release(seed=2)
    assert process.load("2", lost).status_code == 200
    assert process.admin("PUT", "/models/toy/default", {"version": "2"}).status_code == 200
    shutil.rmtree(lost.path)
    if request.param == 2:
        os.kill(process.workers()[0], signal.SIGKILL)
    else:
        assert process.stop() == 0
        process.start("/livez")
    until(lambda: any("toy@2" in ack.refused for ack in read_acks(process.state).values()), 60)
    yield process
    made.close()


def test_a_good_version_becomes_the_default_and_the_broken_one_goes(broken) -> None:
    """200 for both: what a worker refused before is no word about another version."""
    made = broken.admin("PUT", "/models/toy/default", {"version": "1"})
    assert made.status_code == 200, made.text
    assert {broken.ask().json()["version"] for _ in range(20)} == {"1"}
    gone = broken.admin("DELETE", "/models/toy/versions/2")
    assert gone.status_code == 200, gone.text
    listing = broken.admin("GET", "/models").json()
    assert sorted(listing["models"]["toy"]["versions"]) == ["1"]
    assert [worker["refused"] for worker in listing["workers"].values()] == [{}] * len(listing["workers"])


def test_a_new_version_takes_the_place_of_a_broken_one(broken) -> None:
    """Loaded, it is made the default; that the broken one is asked for again is refused with the reason."""
    release = broken.release(seed=3)
    assert broken.load("3", release).status_code == 200
    assert broken.admin("PUT", "/models/toy/default", {"version": "3"}).status_code == 200
    assert {broken.ask().json()["digest"] for _ in range(20)} == {release.digest}
    again = broken.admin("PUT", "/models/toy/default", {"version": "2"})
    assert again.status_code == 422
    assert "cannot be read" in again.json()["error"]
    assert {broken.ask().json()["version"] for _ in range(20)} == {"3"}
