"""Two real workers are told to serve each kind of bad bundle, and the champion answers on (R3, S5)."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import msgspec
import pytest

from serving.models.desired import DesiredModel, read_acks, read_desired, write_desired
from tests.serving.models.bad_bundles import BAD
from tests.serving.pairs import TWO, Pair, pair
from tests.serving.processes import ROW
from tests.serving.real import PYTHON, until

if not PYTHON.exists():
    pytest.skip("NO .venv-serving: `make test` makes it; bad bundles go untested", allow_module_level=True)


@pytest.fixture(scope="module")
def shared(tmp_path_factory, build_release) -> Iterator[Pair]:
    """A pair that serves the champion, version 1."""
    yield from pair(tmp_path_factory.mktemp("pair"), build_release, TWO)


def made(process: Pair, make: Any) -> Any:
    """A bad release beside the others, signed by their key unless that is what is bad about it."""
    folder, built = process.folder / "bad" / make.__name__, []

    def build(**arguments: Any) -> Any:
        key = {"key": process.releases[0].key}
        built.append(process.build(folder / str(len(built)), **{**key, **arguments}))
        return built[-1]

    return make(build)


@contextmanager
def asked(process: Pair) -> Iterator[list[tuple[int, str]]]:
    """Status and digest of what callers are answered meanwhile, on connections of their own."""
    answers: list[tuple[int, str]] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set() or len(answers) < 2:
            answer = process.ask()
            answers.append((answer.status_code, answer.json().get("digest", "")))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield answers
    finally:
        stop.set()
        asking.join()


@pytest.mark.parametrize(("make", "words"), BAD)
def test_it_is_refused_by_both_workers_and_every_caller_is_answered(shared, make, words) -> None:
    """Loaded over the admin API, and desired in the champion's place: a sentence, and the champion (R3)."""
    champion, release = shared.releases[0].digest, made(shared, make)
    with asked(shared) as answers:
        refusal = shared.load("bad", release)
        assert (refusal.status_code, words in refusal.json()["error"]) == (422, True), refusal.text
        assert shared.ask("bad").status_code == 404
        before = read_desired(shared.state)
        wanted = DesiredModel.of("bad", str(release.path), release.digest)
        exchanged = msgspec.structs.replace(before, generation=before.generation + 1, models={"toy": wanted})
        write_desired(shared.state, exchanged)
        try:
            for worker in map(str, shared.workers()):
                ack = until(
                    lambda worker=worker: (
                        (found := read_acks(shared.state)[worker]).generation == exchanged.generation
                        and found
                    )
                )
                assert words in ack.refused["toy@bad"]
                assert ack.served == {"toy": champion}
            assert httpx.get(f"http://127.0.0.1:{shared.port}/readyz", trust_env=False).status_code == 200
        finally:
            write_desired(shared.state, msgspec.structs.replace(before, generation=before.generation + 2))
    assert set(answers) == {(200, champion)}


def test_a_good_bundle_beside_it_is_loaded(shared) -> None:
    """What is refused above is refused for what is bad about it."""
    release = shared.release(seed=2)
    assert shared.load("good", release).status_code == 200
    answer = shared.client.post("/predict?version=good", json={"row": ROW})
    assert answer.json()["digest"] == release.digest
