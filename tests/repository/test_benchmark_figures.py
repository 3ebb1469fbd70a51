"""The figures of the service are kept with their loop, and the document says what the kept figures say."""

from pathlib import Path

import msgspec
import pytest

from benchmarks import batches, rows, scoring
from benchmarks import measurements as kept
from benchmarks.measurements import Measurement, Section
from benchmarks.serving import cost, start, steady, sweep
from contract.errors import FlightlineError
from pipelines.machine.generated import fill, read_parts

# No `unit`: what is drawn takes a library that the fastest tests would have to import.

ROOT = Path(__file__).parents[2]
TABLES = {module.SECTION: module.table for module in (start, steady, sweep, cost, rows, batches, scoring)}
DRAWN = {module.SECTION: module for module in (sweep, rows)}


def one(name, turn, loop=0.1, **values):
    """A measurement."""
    return Measurement(name, turn, values, loop)


def untrue(document: str, sections) -> list[str]:
    """The parts of a document that are not what their figures give, and figures that have no part."""
    parts = read_parts(document)
    return [
        name
        for name, table in TABLES.items()
        if name not in sections or parts.get(name) != kept.part(sections[name], table)
    ]


def test_the_document_says_what_was_measured():
    """Every table is made of the kept figures again, and one changed digit in either is found."""
    text, sections = (ROOT / kept.DOCUMENT).read_text(), kept.read(ROOT / kept.FIGURES)
    assert untrue(text, sections) == []
    for name in TABLES:
        part = read_parts(text)[name]
        digit = next(index for index in reversed(range(len(part))) if part[index] in "12345678")
        changed = part[:digit] + "9" + part[digit + 1 :]
        assert untrue(fill(text, {name: changed}), sections) == [name]
        assert untrue(text, {key: section for key, section in sections.items() if key != name}) == [name]


def test_what_was_drawn_is_in_the_document():
    """A picture that nobody shows, and one that is missing, would both be forgotten."""
    text = (ROOT / kept.DOCUMENT).read_text()
    for module in DRAWN.values():
        assert f"]({module.PICTURE.name})" in text
        assert (ROOT / module.PICTURE).stat().st_size > 1_000


@pytest.mark.parametrize("name", sorted(DRAWN))
def test_the_kept_figures_can_be_drawn(name):
    """The same picture each time: what changes in it has changed in the figures."""
    found = kept.read(ROOT / kept.FIGURES)[name].measurements
    drawn = DRAWN[name].draw(found)
    assert b"<svg" in drawn
    assert drawn == DRAWN[name].draw(found)
    other = [
        msgspec.structs.replace(item, values={**item.values, "rows_per_s": 7.0 + i})
        for i, item in enumerate(found)
    ]
    assert drawn != DRAWN[name].draw(other)


def test_a_measurement_without_its_loop_is_refused():
    """A time alone compares with nothing."""
    for loop in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="stands beside a loop"):
            one("x", 0, loop, start_s=1.0)


def test_what_is_measured_stands_between_two_loops():
    """The work is done once, and its values are what it found."""
    calls = []
    found = kept.measure("x", 3, lambda: calls.append(1) or {"start_s": 2.0})
    assert (calls, found.name, found.turn, found.values) == ([1], "x", 3, {"start_s": 2.0})
    assert found.calibration_s > 0


def test_a_ratio_is_taken_within_one_turn():
    """A machine that slows down between two turns slows both; turns with one contender alone do not count."""
    found = [
        one("a", 0, v=1.0),
        one("b", 0, v=2.0),
        one("a", 1, v=50.0),
        one("b", 1, v=100.0),
        one("a", 2, v=7.0),
    ]
    assert kept.ratios(found, "a", "b", "v") == [0.5, 0.5]
    assert kept.ratios(found, "a", "c", "v") == []
    assert kept.middle(found, "a", "v") == 7.0
    assert kept.names(found) == ["a", "b"]


def test_a_spread_says_from_where_to_where():
    """Of one or two turns there is none to speak of."""
    assert kept.spread([0.5, 0.7, 0.6]) == "0.60 (0.50 to 0.70)"
    assert kept.spread([0.5]) == "0.50"
    assert kept.spread([]) == ""


def test_one_section_is_replaced_and_the_others_stay(tmp_path):
    """Each benchmark writes its own; a document without a place for it refuses, and nothing is written."""
    figures, document = tmp_path / "figures.json", tmp_path / "benchmarks.md"
    document.write_text("<!-- generated: start -->\nold\n<!-- end: start -->\n")
    values = {"start_s": 1.0, "pss_mb": 100.0, "rss_mb": 120.0}
    section = Section("2 cores.", "flights", [one(name, 0, **values) for name in ("flightline", "other")])
    kept.keep("start", section, start.table, figures, document)
    assert kept.read(figures) == {"start": section}
    assert "| other | 1.00 s | 100 ms | 1.00 | 100 MB | 120 MB | 1.00 |" in document.read_text()
    with pytest.raises(FlightlineError, match="no place for steady"):
        kept.keep("steady", section, start.table, figures, document)
    assert kept.read(figures) == {"start": section}
    figures.write_text("[]")
    with pytest.raises(FlightlineError, match="cannot be read"):
        kept.read(figures)


def test_a_table_compares_ours_with_theirs():
    """The shares that were asked for, each in its own table."""
    slow = {"rate_per_s": 300.0, "p50_ms": 1.0, "p90_ms": 2.0}
    found = [one("flightline", 0, **slow, p99_ms=1.0), one("mlserver", 0, **slow, p99_ms=10.0)]
    assert "| mlserver | 1.00 ms | 2.00 ms | 10.00 ms | 100 ms | 0.10 |" in steady.table(found)
    rates = {"rows_per_s": 80.0, "cpu_us_per_row": 3.0, "not_logged_share": 0.25}
    base = one(f"{rows.BASE}, beside V2", 0, rows_per_s=100.0, cpu_us_per_row=2.0)
    assert "| V2 | 80 | 0.80 | 3.00 µs | 1.50 | 25% | 100 ms |" in rows.table([one("V2", 0, **rates), base])
    alone = one(scoring.THREADS, 0, rows_per_s=100.0, cpu_us_per_row=2.0)
    said = scoring.table([alone, one(scoring.SCORED, 0, **rates)])
    assert f"| {scoring.THREADS} | 100 | 0.80 | 2.00 µs | 1.50 | 100 ms |" in said
    pieces = [one(rows.BASE, 0, us_per_row=4.0), one("decoded", 0, us_per_row=1.0)]
    assert "| decoded | 1.00 µs | 4.00 |" in batches.table(pieces)
    costs = {"core_s_per_million": 20.0, "predictions": 100.0, "not_logged": 25.0}
    assert "| x | 20.00 | 25% | 100 ms | 200 |" in cost.table([one("x", 0, **costs)])


@pytest.mark.parametrize(
    "module", [start, steady, sweep, cost, rows, batches, scoring], ids=lambda it: it.SECTION
)
def test_each_benchmark_explains_itself(module, capsys):
    """What it does, an example that names it, and how a program reads it."""
    with pytest.raises(SystemExit) as ended:
        module.main(["--help"])
    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert f"example: python -m {module.__spec__.name}" in said
    assert "--json" in said
    assert "--write" in said


def test_make_runs_every_one():
    """What is kept is taken by one target, after the peers were installed."""
    text = (ROOT / "Makefile").read_text()
    recipe = text[text.index("\nbench-serving: setup peers") :].partition("\n\n")[0]
    modules = (start, steady, sweep, cost, rows, batches, scoring)
    assert all(f" {module.__spec__.name.removeprefix('benchmarks.')}" in recipe for module in modules)
