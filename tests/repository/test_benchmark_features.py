"""The benchmark of the features refuses what it cannot compare, and draws what it measured."""

import polars as pl
import pytest

from benchmarks import features as benchmark
from benchmarks.growth import Grown, with_own_keys
from contract.errors import FlightlineError
from tests.training.timetables import flight, sources
from training.features import examples
from training.models.flights import MODEL, arrange


def grown(how="one pass", years=1, rows=100, checksum=7, keys=1):
    """A size, computed in one way."""
    return Grown(how, years, keys, rows, seconds=2.0, calibration_s=0.1, peak_mb=300.0, checksum=checksum)


def test_two_ways_that_agree_are_reported():
    """Equal rows and checksum of each size; another size may have others."""
    benchmark.agree([grown(), grown("by quarter"), grown("by quarter", years=10, rows=1000, checksum=9)])


@pytest.mark.parametrize("other", [{"rows": 99}, {"checksum": 8}])
def test_two_ways_that_differ_are_refused(other):
    """A fast way to something else is no figure."""
    with pytest.raises(FlightlineError, match="the matrices of 1 years with 1 times the keys differ"):
        benchmark.agree([grown(), grown("by quarter", **other)])


def test_a_size_says_its_rows_its_way_and_its_memory():
    """With the loop beside it, as every figure."""
    line = benchmark.figure(grown())
    assert (line.name, line.ratio) == ("100 rows (1 years), one pass", 20.0)
    assert line.detail == "300 MB at most; 50 rows/s"
    assert benchmark.figure(grown(keys=10)).name == "100 rows (10 times the keys), one pass"


def test_more_keys_are_another_size_than_more_years():
    """Ten years and ten times the keys have as many rows and other matrices."""
    benchmark.agree([grown(years=10, checksum=1), grown(keys=10, checksum=2)])
    with pytest.raises(FlightlineError, match="of 1 years with 10 times the keys differ"):
        benchmark.agree([grown(keys=10, checksum=1), grown("by quarter", keys=10, checksum=2)])


def test_a_copy_has_keys_of_its_own_and_the_same_features():
    """Each copy's late flights are its own: the features of a flight do not see those of the other copy."""
    late = {"day": 14, "time_hour": "2013-01-14T14:00:00Z", "arr_delay": 60}
    tables = arrange(sources(flight(**late), flight()))
    both = {
        name: pl.concat(with_own_keys(table, MODEL, copy) for copy in (0, 1))
        if name in MODEL.known_at
        else table
        for name, table in tables.items()
    }
    names = [
        item.name for item in MODEL.contract.features if item.aggregate and "hour" not in item.aggregate.by
    ]
    alone, together = examples(MODEL, tables), examples(MODEL, both)
    assert together.height == 2 * alone.height
    assert together["id"].n_unique() == together.height
    for copy in ("0/", "1/"):
        own = together.filter(pl.col("id").str.starts_with(copy))
        assert own.select(names).equals(alone.select(names)), copy


def test_equal_figures_give_an_equal_picture():
    """No date and no random name in it."""
    found = [grown(), grown("by quarter"), grown("by quarter", years=10, rows=1000)]
    assert benchmark.draw(found) == benchmark.draw(found)
    assert benchmark.draw(found) != benchmark.draw(found[:2])


def test_a_process_that_fails_is_named():
    """With what it said."""
    with pytest.raises(FlightlineError, match=r"benchmarks\.growth nowhere ended with 2: usage"):
        benchmark._child("nowhere")
