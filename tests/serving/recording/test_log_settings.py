"""The prediction log's settings come from the environment, and a wrong one is a sentence."""

import pytest

from contract.errors import ConfigError
from serving.recording.log_settings import LogSettings

pytestmark = pytest.mark.unit


def test_without_variables_every_segment_is_synced() -> None:
    """The safest policy is the default."""
    assert LogSettings.from_environment({}) == LogSettings(sync="always")


def test_each_variable_is_read() -> None:
    """Policy, times, and the bounds of memory."""
    values = {"SYNC": "interval", "SYNC_SECONDS": "9", "SECONDS": "0.5", "ROWS": "7", "MOST_ROWS": "8"}
    found = LogSettings.from_environment(
        {f"FLIGHTLINE_LOG_{name}": text for name, text in {**values, "MOST_MB": "2"}.items()}
    )
    assert found == LogSettings("interval", 9, 0.5, 7, 8, 2 * 1024 * 1024)


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("SYNC", "allways", "did you mean 'always'"),
        ("SECONDS", "soon", "FLIGHTLINE_LOG_SECONDS is 'soon'"),
        ("ROWS", "0", "a number above 0"),
        ("MOST_MB", "nan", "a number above 0"),
        ("SYNC_SECONDS", "inf", "a number above 0"),
    ],
)
def test_a_wrong_value_is_a_sentence(name, text, sentence) -> None:
    """It names the variable and what it may be."""
    with pytest.raises(ConfigError, match=sentence):
        LogSettings.from_environment({f"FLIGHTLINE_LOG_{name}": text})
