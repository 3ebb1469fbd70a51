"""The window of a check is kept as data, and said in lines that name the worst."""

import json

import polars as pl
import pytest

from monitoring.statistics import window_statistics
from pipelines.watching import window
from tests.monitoring.worlds import CONTRACT
from tests.monitoring.worlds import window as made

pytestmark = pytest.mark.unit


def described(rows=4, **columns):
    """So many rows of which some columns are given, in numbers."""
    given = {name.replace("__", "."): pl.Series(values) for name, values in columns.items()}
    return window_statistics(made(1, rows).with_columns(**given), CONTRACT, bins=4)


def test_the_scores_of_the_window_are_said():
    """Mean, median, the extremes and the deviation of each class, and its histogram as bars."""
    said = dict(window.lines(described(score__late=[0.1, 0.2, 0.4, 0.9])))
    assert said["score late"] == (
        "mean 0.400, median 0.300, 0.100 to 0.900, deviation 0.308, 0.0% invalid  [█▄ ▄]"
    )
    assert "score on_time" in said


def test_one_row_among_thousands_is_seen_in_the_bars():
    """A bin that is not empty has a bar."""
    said = dict(window.lines(described(1_000, score__late=[0.1] * 999 + [0.9])))
    assert said["score late"].endswith("[█  ▁]")


def test_the_inputs_with_most_missing_values_are_named():
    """The worst first, with their share of the rows."""
    said = dict(
        window.lines(
            described(feature__temp=[1.0, None, float("nan"), 2.0], feature__wind=[None, 1.0, 1.0, 1.0])
        )
    )
    assert said["missing"] == "in 2 of 5 inputs, most in temp 50.0%, wind 25.0%"
    assert said["unknown"] == "in none of 5 inputs"


def test_scores_of_which_none_is_a_number_are_said_to_be_invalid():
    """Nothing else can be said of them."""
    said = dict(window.lines(described(score__late=[float("nan")] * 4)))
    assert said["score late"] == "none is finite; 100.0% invalid"


def test_the_numbers_are_kept_as_json(tmp_path):
    """The whole histogram of each class; a value that there is not is null, as JSON has it."""
    path = window.keep(tmp_path, described(score__late=[float("nan")] * 4))
    kept = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert kept["rows"] == 4
    assert kept["scores"][1]["mean"] is None
    assert len(kept["scores"][0]["counts"]) + 1 == len(kept["scores"][0]["edges"]) == 5
