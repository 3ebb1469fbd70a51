"""The benchmark of rows a second says when a way to ask is too slow, and counts what was really asked."""

import threading

import pytest

from benchmarks import rows
from contract.errors import FlightlineError

pytestmark = pytest.mark.unit


def test_too_slow_a_way_is_a_failure(monkeypatch, capsys) -> None:
    """The table is printed either way; below half of onnxruntime the command refuses."""
    for ratio, refused in ((0.51, False), (0.49, True)):
        rate = rows.Rate("V2 over gRPC", 1_000.0, ratio, (ratio,))
        monkeypatch.setattr(rows, "measure", lambda *_, rate=rate: [rate])
        if refused:
            with pytest.raises(FlightlineError, match=r"reaches 0\.49"):
                rows.main([])
        else:
            assert rows.main([]) == 0
        assert "V2 over gRPC" in capsys.readouterr().out


def test_a_rate_is_rows_over_seconds() -> None:
    """Each caller's first request is not counted; all of them ask at once."""
    seen: set[int] = set()

    def way() -> rows.Ask:
        return lambda: seen.add(threading.get_ident())

    assert rows._rate(way, 0.02, at_once=3) > rows.ROWS
    assert len(seen) == 3


def test_a_failing_request_fails_the_measurement() -> None:
    """Nobody waits for a caller that never came."""

    def way() -> rows.Ask:
        raise ConnectionError("nobody listens")

    with pytest.raises((ConnectionError, threading.BrokenBarrierError)):
        rows._rate(way, 0.02, at_once=2)
