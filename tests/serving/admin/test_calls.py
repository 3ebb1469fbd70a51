"""An admin call ends when every live worker has acted on it, or says who has not."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.admin.calls import LateError, RefusedError, perform
from serving.models import changes
from serving.models.changes import InUseError
from serving.models.desired import (
    Ack,
    BusyError,
    Desired,
    desired_lock,
    read_desired,
    write_ack,
    write_desired,
)
from serving.models.workers import Presence

pytestmark = pytest.mark.unit


class Worker:
    """A worker that acknowledges whatever is desired, in a thread, unless told otherwise."""

    def __init__(self, state: Path, name: str) -> None:
        """Begin to live, and to look."""
        self.state, self.name = state, name
        self.deaf, self.refusing = False, ""
        self._presence = Presence(state, name)
        self._presence.begin()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        while not self._stop.wait(0.005):
            desired = read_desired(self.state)
            if desired is None or self.deaf:
                continue
            refused = {
                f"{model}@{version}": "it is bad."
                for model, wanted in desired.models.items()
                for version in wanted.versions
                if version == self.refusing
            }
            write_ack(self.state, Ack(desired.generation, self.name, {}, refused))

    def die(self) -> None:
        """As a killed one does: the lock is free, and the last acknowledgement stays."""
        self._stop.set()
        self._thread.join()
        self._presence.end()


@pytest.fixture
def worker(tmp_path) -> Iterator[Callable[[str], Worker]]:
    """Workers of one state folder, in which version 1 of `toy` is desired."""
    write_desired(tmp_path, changes.load(changes.EMPTY, "toy", "1", "/r/1", "1" * 64))
    made: list[Worker] = []

    def make(name: str) -> Worker:
        made.append(Worker(tmp_path, name))
        return made[-1]

    yield make
    for one in made:
        one.die()


def load(version: str) -> Callable[[Desired], Desired]:
    """A change that loads `version`."""
    return lambda before: changes.load(before, "toy", version, f"/r/{version}", version * 64)


def default(version: str) -> Callable[[Desired], Desired]:
    """A change that makes `version` the default."""
    return lambda before: changes.make_default(before, "toy", version)


def unload(version: str) -> Callable[[Desired], Desired]:
    """A change that unloads `version`."""
    return lambda before: changes.unload(before, "toy", version)


def versions(state: Path) -> list[str]:
    """The desired versions of `toy`."""
    desired = read_desired(state)
    return sorted(desired.models["toy"].versions) if desired else []


def test_a_call_ends_when_all_have_acknowledged(tmp_path, worker) -> None:
    """Both of two, and the generation is one higher."""
    worker("1")
    worker("2")
    done = perform(tmp_path, "toy", load("2"), 20)
    assert (done.generation, done.changed, done.workers) == (1, True, ("1", "2"))
    assert versions(tmp_path) == ["1", "2"]


def test_what_is_so_already_is_no_new_generation(tmp_path, worker) -> None:
    """A call may be made again."""
    worker("1")
    perform(tmp_path, "toy", load("2"), 20)
    done = perform(tmp_path, "toy", load("2"), 20)
    assert (done.generation, done.changed) == (1, False)


def test_who_has_not_acknowledged_is_named(tmp_path, worker) -> None:
    """After the deadline; what was asked for stays desired."""
    worker("1")
    worker("2").deaf = True
    with pytest.raises(LateError, match="2 of the live workers have not acknowledged generation 1") as late:
        perform(tmp_path, "toy", load("2"), 0.3)
    assert late.value.lacking == ["2"]
    assert versions(tmp_path) == ["1", "2"]


def test_without_a_worker_nothing_is_acknowledged(tmp_path) -> None:
    """Nobody's silence is no consent."""
    with pytest.raises(LateError, match="no worker has acknowledged"):
        perform(tmp_path, "toy", load("2"), 0.1)


def test_a_worker_that_dies_meanwhile_is_not_waited_for(tmp_path, worker) -> None:
    """The call ends right with the one that lives."""
    worker("1")
    second = worker("2")
    second.deaf = True
    answers: list[Any] = []
    calling = threading.Thread(target=lambda: answers.append(perform(tmp_path, "toy", load("2"), 30)))
    calling.start()
    second.die()
    calling.join()
    assert answers[0].workers == ("1",)


def test_a_worker_that_comes_meanwhile_is_waited_for(tmp_path, worker) -> None:
    """It lives, so it must have acted on it."""
    first = worker("1")
    first.deaf = True
    second = worker("2")
    answers: list[Any] = []
    calling = threading.Thread(target=lambda: answers.append(perform(tmp_path, "toy", load("2"), 30)))
    calling.start()
    worker("3")
    first.deaf = False
    calling.join()
    assert answers[0].workers == ("1", "2", "3")
    assert second.name in answers[0].workers


def test_one_refusal_puts_back_what_was_there_for_all(tmp_path, worker) -> None:
    """A version that one of two cannot serve is no version of the service."""
    worker("1")
    worker("2").refusing = "2"
    before = read_desired(tmp_path)
    with pytest.raises(RefusedError, match=r"it is bad; expected .* What answered before answers on"):
        perform(tmp_path, "toy", load("2"), 20)
    after = read_desired(tmp_path)
    assert before is not None
    assert after is not None
    assert after.models == before.models
    assert after.generation == before.generation + 2


def test_a_refusal_is_told_although_another_is_silent(tmp_path, worker) -> None:
    """It does not wait for the deadline to be known."""
    worker("1").refusing = "2"
    worker("2").deaf = True
    with pytest.raises((RefusedError, LateError)):
        perform(tmp_path, "toy", load("2"), 0.5)
    assert versions(tmp_path) == ["1"]


def test_a_version_that_was_refused_before_keeps_nobody_from_the_others(tmp_path, worker) -> None:
    """With a broken default another is loaded and made the default, and the broken one is unloaded."""
    worker("1").refusing = "1"
    worker("2")
    for number, change in enumerate((load("2"), default("2"), unload("1")), start=1):
        assert perform(tmp_path, "toy", change, 20).generation == number
    assert versions(tmp_path) == ["2"]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda before: changes.make_default(before, "toy", "2"), id="default"),
        pytest.param(lambda before: changes.set_split(before, "toy", {"1": 90, "2": 10}), id="split"),
        pytest.param(lambda before: changes.set_mirror(before, "toy", {"2": 10}), id="mirror"),
    ],
)
def test_a_broken_version_that_is_asked_for_is_refused_again(tmp_path, worker, change) -> None:
    """That it was refused before, too, does not make it answer."""
    write_desired(tmp_path, load("2")(read_desired(tmp_path) or changes.EMPTY))
    worker("1").refusing = "2"
    worker("2")
    with pytest.raises(RefusedError, match="it is bad"):
        perform(tmp_path, "toy", change, 20)
    model = (read_desired(tmp_path) or changes.EMPTY).models["toy"]
    assert (model.default, model.split, model.mirror) == ("1", {}, {})


def test_an_impossible_change_writes_nothing(tmp_path, worker) -> None:
    """No generation, no wait."""
    worker("1")
    with pytest.raises(InUseError):
        perform(tmp_path, "toy", lambda before: changes.unload(before, "toy", "1"), 20)
    assert read_desired(tmp_path) == changes.load(changes.EMPTY, "toy", "1", "/r/1", "1" * 64)


def test_one_call_at_a_time(tmp_path, worker) -> None:
    """While another holds the right to write, a call says so and changes nothing."""
    worker("1")
    with desired_lock(tmp_path, 1), pytest.raises(BusyError, match="another change of the versions"):
        perform(tmp_path, "toy", load("2"), 20, lock_s=0.1)
    assert versions(tmp_path) == ["1"]


def test_of_many_calls_at_once_none_is_lost(tmp_path, worker) -> None:
    """Each makes a generation of its own; in the end all versions are there."""
    worker("1")
    names = [str(number) for number in range(2, 8)]
    errors: list[BaseException] = []

    def one(version: str) -> None:
        try:
            perform(tmp_path, "toy", load(version), 30, lock_s=30)
        except BaseException as error:
            errors.append(error)
            raise

    calls = [threading.Thread(target=one, args=(name,)) for name in names]
    for call in calls:
        call.start()
    for call in calls:
        call.join()
    assert errors == []
    assert versions(tmp_path) == ["1", *names]
    desired = read_desired(tmp_path)
    assert desired is not None
    assert desired.generation == len(names)
