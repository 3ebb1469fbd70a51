"""The demonstration empties a folder: only its own, and only one demonstration at a time."""

from pathlib import Path

import httpx
import pytest

from contract.errors import FlightlineError
from contract.locks import exclusive
from pipelines import demo, replay
from pipelines.demonstration.checks import MARK, fresh_world
from pipelines.machine.settings import Settings
from tests.journeys.conftest import free_ports

pytestmark = pytest.mark.unit


def settings(var: Path) -> Settings:
    """Settings of a world in `var`."""
    return Settings.from_environment({"FLIGHTLINE_VAR": str(var), **free_ports()})


def test_a_folder_that_no_demonstration_made_is_never_emptied(tmp_path: Path) -> None:
    """Somebody's folder that happens to be called demo stays as it is."""
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(FlightlineError, match="no demonstration made"):
        fresh_world(settings(tmp_path))
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_an_earlier_demonstration_is_emptied(tmp_path: Path) -> None:
    """What the mark says was made by a demonstration goes; the mark comes back."""
    fresh_world(settings(tmp_path / "demo"))
    (tmp_path / "demo" / "old").write_text("x")
    fresh_world(settings(tmp_path / "demo"))
    assert [item.name for item in (tmp_path / "demo").iterdir()] == [MARK]


def test_a_second_demonstration_is_refused_while_one_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It neither stops nor empties the first one's world."""
    monkeypatch.setenv("FLIGHTLINE_VAR", str(tmp_path))
    with (
        exclusive(tmp_path / "demo.lock", "demonstration"),
        pytest.raises(FlightlineError, match="another demonstration"),
    ):
        demo.main([])
    assert not (tmp_path / "demo").exists()


@pytest.mark.parametrize(
    ("written", "lost", "sentence"), [(10, 3, "lost 3 of 10"), (7, 0, "did not catch up")]
)
def test_a_log_that_loses_or_lags_fails_the_replay(
    monkeypatch: pytest.MonkeyPatch, written: int, lost: int, sentence: str
) -> None:
    """A prediction that was answered and not logged would be missing from monitoring without a word."""
    monkeypatch.setattr(replay, "TIMEOUT_S", 0.1)
    log = {"written": 100 + written, "dropped": lost, "failed": 0}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json={"prediction_log": log}))
    with (
        httpx.Client(transport=transport, base_url="http://127.0.0.1") as client,
        pytest.raises(FlightlineError, match=sentence),
    ):
        replay._await_log(client, (100, 0), 10)


def test_a_log_that_caught_up_ends_the_wait() -> None:
    """Every row is written and none lost."""
    log = {"written": 110, "dropped": 2, "failed": 0}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json={"prediction_log": log}))
    with httpx.Client(transport=transport, base_url="http://127.0.0.1") as client:
        replay._await_log(client, (100, 2), 10)
