"""The benchmark of the features refuses what it cannot compare, and draws what it measured."""

import pytest

from benchmarks import features as benchmark
from benchmarks.growth import Grown
from contract.errors import FlightlineError

pytestmark = pytest.mark.unit


def grown(how="one pass", years=1, rows=100, checksum=7):
    """A size, computed in one way."""
    return Grown(how, years, rows, seconds=2.0, calibration_s=0.1, peak_mb=300.0, checksum=checksum)


def test_two_ways_that_agree_are_reported():
    """Equal rows and checksum of each size; another size may have others."""
    benchmark.agree([grown(), grown("by quarter"), grown("by quarter", years=10, rows=1000, checksum=9)])


@pytest.mark.parametrize("other", [{"rows": 99}, {"checksum": 8}])
def test_two_ways_that_differ_are_refused(other):
    """A fast way to something else is no figure."""
    with pytest.raises(FlightlineError, match="the matrices of 1 years differ"):
        benchmark.agree([grown(), grown("by quarter", **other)])


def test_a_size_says_its_rows_its_way_and_its_memory():
    """With the loop beside it, as every figure."""
    line = benchmark.figure(grown())
    assert (line.name, line.ratio) == ("100 rows (1 years), one pass", 20.0)
    assert line.detail == "300 MB at most; 50 rows/s"


def test_equal_figures_give_an_equal_picture():
    """No date and no random name in it."""
    found = [grown(), grown("by quarter"), grown("by quarter", years=10, rows=1000)]
    assert benchmark.draw(found) == benchmark.draw(found)
    assert benchmark.draw(found) != benchmark.draw(found[:2])


def test_a_process_that_fails_is_named():
    """With what it said."""
    with pytest.raises(FlightlineError, match=r"benchmarks\.growth nowhere ended with 2: usage"):
        benchmark._child("nowhere")
