"""Ctrl-C in every other one of the demonstration's moments: one sentence, nothing half done, nothing left."""

from collections.abc import Iterator

import pytest

from tests.journeys.conftest import World
from tests.journeys.interrupting import DEEPER, moments, must_leave_nothing_half_done, names, one_world

pytestmark = [pytest.mark.slow, pytest.mark.lengthy]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One world for all."""
    with one_world(tmp_path_factory) as made:
        yield made


@pytest.mark.parametrize(("step", "sign"), moments()[0::2])
def test_ctrl_c_in_the_middle_of_a_step_leaves_nothing_half_done(shared: World, step: str, sign: str) -> None:
    """Exit code 130, one sentence at the end, no traceback, no process, no half-registered model."""
    must_leave_nothing_half_done(shared, step, sign)


def test_the_two_files_together_interrupt_every_step() -> None:
    """And every moment is of a step: one that is renamed takes its moments along."""
    assert {step for step, _ in [*moments()[::2], *moments()[1::2]]} == set(names())
    assert {step for step, _ in DEEPER} <= set(names())
