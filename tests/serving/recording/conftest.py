"""Prediction logs that write soon, closed at the end."""

import pytest

from serving.recording.prediction_log import PredictionLog
from tests.serving.recording.runs import QUICK


@pytest.fixture
def contract(make_bundle):
    """The contract of the toy model."""
    return make_bundle().contract


@pytest.fixture
def make_log(tmp_path):
    """Started logs, closed at the end."""
    made = []

    def make(settings=QUICK):
        made.append(PredictionLog(tmp_path / "log", "7", settings))
        made[-1].start()
        return made[-1]

    yield make
    for log in made:
        log.close()


@pytest.fixture
def log(make_log):
    """One of them."""
    return make_log()
