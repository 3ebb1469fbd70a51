"""Long batches are answered, judged, counted and logged as others are, although in a way of their own."""

import asyncio
import json
from typing import Any

import polars as pl
import pytest

from serving.http.admission import INLINE_ROWS
from tests.serving.http.conftest import ask
from tests.serving.http.ways import ID, JSON, ROW, added, alike, batch, counted, together, turned


@pytest.mark.parametrize("value", [3.5e38, -1e39, 1e308, 10**400, 10.000001, -1e-9, True, "1", None])
@pytest.mark.parametrize("by_column", [False, True])
def test_one_number_that_is_refused_refuses_a_long_batch(both, value, by_column) -> None:
    """With the same words, although such a batch is judged by its arrays."""
    rows = [{**ROW, "width": index % 10} for index in range(1_000)]
    rows[777]["width"] = value
    body = {"columns": turned(rows)} if by_column else {"rows": rows}
    hot, slow, by_itself = both.ask([json.dumps(body).encode()], path="/predict_batch", headers=[JSON, ID])
    alike(hot, slow)
    assert (hot.status, by_itself) == (422, False)
    assert b"rows[777].width" in hot.body


@pytest.mark.parametrize("count", [INLINE_ROWS + 1, 1_000])
@pytest.mark.parametrize("by_column", [False, True])
def test_what_is_odd_about_a_long_batch_is_counted_as_on_the_other_way(both, count, by_column) -> None:
    """Rows by feature that are missing, out of range or of an unknown category; rows by class."""
    rows = [
        {
            "width": index % 10,
            "height": [None, 60.0, 1.0][index % 3],
            "letter": ["?", "A", None, "B"][index % 4],
        }
        for index in range(count)
    ]
    body = json.dumps({"columns": turned(rows)} if by_column else {"rows": rows}).encode()
    found = []
    for way in (both.hot, both.slow):
        before = counted(both.host)
        assert asyncio.run(ask(way, [body], path="/predict_batch", headers=[JSON, ID])).status == 200
        found.append(added(both.host, before))
    assert both.passed_on == []
    assert found[0] == found[1]
    assert {name.partition("[")[0] for name in found[0]} >= {
        "flightline_missing_total",
        "flightline_out_of_range_total",
        "flightline_unknown_category_total",
    }


def test_a_long_batch_comes_to_the_log_encoded(both, monkeypatch) -> None:
    """By row and by column; a shorter one as it is."""
    found = []
    append = both.host.log.append

    def heard(answered: Any, encoded: Any = None) -> None:
        found.append((len(answered), encoded is not None))
        append(answered, encoded)

    monkeypatch.setattr(both.host.log, "append", heard)
    columns = {"width": [1.5] * 300, "height": [None] * 300, "letter": ["A"] * 300}
    body = json.dumps({"columns": columns}).encode()
    answers = together(*(both.send([part], path="/predict_batch") for part in (batch(300), body, batch(100))))
    assert [one.status for one in answers] == [200] * 3
    both.host.log.close()
    assert sorted(found) == [(100, False), (300, True), (300, True)]
    logged = pl.read_parquet(both.host.settings.predictions / "toy" / "*.parquet")
    assert logged.height == 700
