"""A service that was told too little, or nonsense, says so in one sentence."""

import pytest

from contract.attestation import read_trust
from contract.errors import ConfigError
from serving.settings import Settings

pytestmark = pytest.mark.unit

GOOD = {"FLIGHTLINE_STATE": "/state", "FLIGHTLINE_TRUST": "/trust.json"}


def test_the_clock_is_wall_time_unless_said_otherwise() -> None:
    """Production needs no setting to refuse event times."""
    assert Settings.from_environment(GOOD).clock == "wall"
    assert Settings.from_environment(GOOD | {"FLIGHTLINE_CLOCK": "request"}).clock == "request"


@pytest.mark.parametrize("name", sorted(GOOD))
def test_a_missing_variable_is_named(name) -> None:
    """There is no default for what only the deployer knows."""
    with pytest.raises(ConfigError, match=f"{name} is not set"):
        Settings.from_environment({key: value for key, value in GOOD.items() if key != name})


def test_an_unknown_clock_is_refused_with_the_near_miss() -> None:
    """A typo does not silently become wall time, or the other way round."""
    with pytest.raises(ConfigError, match="did you mean 'request'"):
        Settings.from_environment(GOOD | {"FLIGHTLINE_CLOCK": "requst"})


def test_a_trust_list_must_be_one(tmp_path) -> None:
    """A missing or malformed trust list trusts nobody, and says which file it is."""
    with pytest.raises(ConfigError, match=r"trust\.json cannot be read"):
        read_trust(tmp_path / "trust.json")
    (tmp_path / "trust.json").write_text('{"kyes": []}')
    with pytest.raises(ConfigError, match="did you mean 'keys'"):
        read_trust(tmp_path / "trust.json")


def test_the_admin_api_is_off_unless_asked_for() -> None:
    """A port is opened by a word, never by default."""
    assert Settings.from_environment(GOOD).admin_port is None
    assert Settings.from_environment(GOOD | {"FLIGHTLINE_ADMIN_PORT": "off"}).admin_port is None
    assert Settings.from_environment(GOOD | {"FLIGHTLINE_ADMIN_PORT": "0"}).admin_port == 0


def test_a_run_has_one_thread_unless_more_are_asked_for() -> None:
    """Threads are never as many as the library happens to choose."""
    assert Settings.from_environment(GOOD).onnx_threads == 1
    assert Settings.from_environment(GOOD | {"FLIGHTLINE_ONNX_THREADS": "2"}).onnx_threads == 2


def test_what_was_read_of_the_store_is_used_again_for_a_second_unless_told() -> None:
    """Or for as long as is said, also not at all (S4)."""
    assert Settings.from_environment(GOOD).online_cache_s == 1.0
    for said, seconds in (("0", 0.0), ("2.5", 2.5)):
        found = Settings.from_environment(GOOD | {"FLIGHTLINE_ONLINE_CACHE_S": said})
        assert found.online_cache_s == seconds


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("FLIGHTLINE_ADMIN_PORT", "65536", "a port up to 65535"),
        ("FLIGHTLINE_ADMIN_PORT", "-1", "a port up to 65535"),
        ("FLIGHTLINE_ADMIN_PORT", "\u0661", "a port up to 65535"),
        ("FLIGHTLINE_ONNX_THREADS", "0", "a whole number from 1 to 64"),
        ("FLIGHTLINE_ONNX_THREADS", "two", "a whole number from 1 to 64"),
        ("FLIGHTLINE_ONLINE_CACHE_S", "-1", "seconds, such as 0.5, or 0 for none"),
        ("FLIGHTLINE_ONLINE_CACHE_S", "nan", "seconds, such as 0.5, or 0 for none"),
        ("FLIGHTLINE_DRAIN_SECONDS", "nan", "seconds from 0 to 300"),
        ("FLIGHTLINE_DRAIN_SECONDS", "soon", "seconds from 0 to 300"),
    ],
)
def test_a_number_that_cannot_be_meant_is_refused(name, value, words) -> None:
    """With the range that it has."""
    with pytest.raises(ConfigError, match=words):
        Settings.from_environment(GOOD | {name: value})
