"""The desired state and its acknowledgements survive writers, readers and dead workers."""

import os
import subprocess
import sys
import threading

import pytest

from contract.errors import ConfigError
from serving.models.desired import (
    Ack,
    Desired,
    DesiredModel,
    read_acks,
    read_desired,
    remove_stale_acks,
    write_ack,
    write_desired,
)

pytestmark = pytest.mark.unit

MODEL = DesiredModel.of("1", "/releases/1", "d" * 64)


def test_a_state_is_read_as_written(tmp_path) -> None:
    """Writing and reading are inverse."""
    desired = Desired(generation=3, default="toy", models={"toy": MODEL})
    write_desired(tmp_path / "state", desired)
    assert read_desired(tmp_path / "state") == desired


def test_nothing_desired_is_none(tmp_path) -> None:
    """A folder without a desired state is not an error."""
    assert read_desired(tmp_path) is None
    assert read_acks(tmp_path) == {}


def test_a_misspelt_key_is_named(tmp_path) -> None:
    """An unknown key is refused with the near miss."""
    (tmp_path / "desired.json").write_text('{"generaton": 1, "default": "", "models": {}}')
    with pytest.raises(ConfigError, match="did you mean 'generation'"):
        read_desired(tmp_path)


def test_a_default_must_be_a_model() -> None:
    """A default that nobody serves is refused."""
    with pytest.raises(ConfigError, match="default is 'iris'"):
        Desired(generation=1, default="iris", models={"toy": MODEL})


def test_a_relative_release_is_refused() -> None:
    """A service has another working directory than who deploys."""
    with pytest.raises(ConfigError, match="absolute path"):
        Desired(generation=1, default="toy", models={"toy": DesiredModel.of("1", "releases/1", "d")})


def test_a_reader_never_sees_half_a_state(tmp_path) -> None:
    """While one thread replaces the state, every read is one of the written states."""
    states = [Desired(generation=n, default="toy", models={"toy": MODEL}) for n in range(1, 60)]
    write_desired(tmp_path, states[0])
    writer = threading.Thread(target=lambda: [write_desired(tmp_path, state) for state in states])
    writer.start()
    seen = []
    while writer.is_alive():
        seen.append(read_desired(tmp_path))
    writer.join()
    assert all(state in states for state in seen)
    assert [path.name for path in tmp_path.iterdir()] == ["desired.json"]


def test_acknowledgements_of_dead_workers_are_removed(tmp_path) -> None:
    """Only processes that live keep their acknowledgement."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for worker in (str(gone.pid), str(os.getpid())):
        write_ack(tmp_path, Ack(generation=1, worker=worker, served={"toy": "d"}, refused={}))
    assert len(read_acks(tmp_path)) == 2
    remove_stale_acks(tmp_path)
    assert list(read_acks(tmp_path)) == [str(os.getpid())]
