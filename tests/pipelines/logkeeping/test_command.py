"""`python -m pipelines.prediction_log`: keep the log of one model in one environment."""

import json

import pytest

from contract.errors import FlightlineError
from pipelines import prediction_log
from tests.pipelines.logkeeping.logs import fill, numbers


@pytest.fixture
def log(tmp_path, monkeypatch):
    """A production log of three segments on a machine of its own."""
    monkeypatch.setenv("FLIGHTLINE_VAR", str(tmp_path))
    fill(tmp_path / "predictions" / "production", 3)
    return tmp_path / "predictions" / "production" / "toy"


def test_compaction_says_what_it_did(log, capsys):
    """For a person and for a program."""
    assert prediction_log.main(["compact", "toy"]) == 0
    assert "3 segments with 30 rows are now 1 with 30" in capsys.readouterr().out
    assert prediction_log.main(["compact", "toy", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["segments_after"] == 1
    assert numbers(log) == list(range(30))


def test_pruning_counts_from_the_day_it_is_told(log):
    """Ninety days unless told otherwise."""
    prediction_log.main(["prune", "toy", "--as-of", "2013-04-20"])
    assert len(numbers(log)) == 30
    prediction_log.main(["prune", "toy", "--as-of", "2013-04-20", "--days", "10"])
    assert numbers(log) == []


def test_the_live_segments_are_listed(log, capsys):
    """One path a line, or an array."""
    prediction_log.main(["files", "toy"])
    assert len(capsys.readouterr().out.splitlines()) == 3
    prediction_log.main(["files", "toy", "--json"])
    assert all(path.startswith(str(log.parent)) for path in json.loads(capsys.readouterr().out))


def test_an_unknown_log_is_a_sentence(log):
    """With the near miss."""
    assert log.exists()
    with pytest.raises(FlightlineError, match="no prediction log of 'toi', did you mean 'toy'"):
        prediction_log.main(["compact", "toi"])


@pytest.mark.parametrize("days", ["-1", "nan", "soon"])
def test_days_are_a_number(log, days):
    """A wrong one must not remove anything."""
    with pytest.raises(SystemExit):
        prediction_log.main(["prune", "toy", "--days", days])
    assert len(numbers(log)) == 30
