"""Ctrl-C in the others of the demonstration's moments: one sentence, nothing half done, nothing left."""

from collections.abc import Iterator

import pytest

from tests.journeys.conftest import World
from tests.journeys.interrupting import (
    COMMAND,
    interrupted,
    moments,
    must_leave_nothing_half_done,
    names,
    nothing_is_half_done,
    nothing_is_left,
    one_world,
)

pytestmark = [pytest.mark.slow, pytest.mark.lengthy]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One world for all."""
    with one_world(tmp_path_factory) as made:
        yield made


@pytest.mark.parametrize(("step", "sign"), moments()[1::2])
def test_ctrl_c_in_the_middle_of_a_step_leaves_nothing_half_done(shared: World, step: str, sign: str) -> None:
    """Exit code 130, one sentence at the end, no traceback, no process, no half-registered model."""
    must_leave_nothing_half_done(shared, step, sign)


def test_the_same_command_again_does_what_the_interrupted_one_did_not(shared: World) -> None:
    """In the folder of a demonstration that was interrupted, another runs to its end."""
    interrupted(shared, names()[2])
    code, printed = shared.run(*COMMAND)
    assert code == 0, printed
    nothing_is_left(shared)
    nothing_is_half_done(shared)
