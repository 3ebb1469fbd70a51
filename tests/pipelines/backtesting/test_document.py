"""What stands between markers is written by a command, and the page shows what is kept as data."""

import re
from pathlib import Path

import pytest

from contract.errors import FlightlineError
from pipelines.backtest import picture, read
from pipelines.backtesting.picture import drawn_from
from pipelines.backtesting.report import parts
from pipelines.machine.generated import fill, prose, read_parts

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
PAGE = (
    "# A\n\n<!-- generated: a.x -->\nold\n<!-- end: a.x -->\n\n"
    "text\n\n<!-- generated: b -->\n<!-- end: b -->\n"
)


def test_only_the_named_parts_change():
    """Text and other parts stay to the letter; filling twice is filling once."""
    once = fill(PAGE, {"a.x": "| new |\n| \\1 |"})
    assert once == PAGE.replace("old", "| new |\n| \\1 |")
    assert fill(once, {"a.x": "| new |\n| \\1 |"}) == once
    assert read_parts(once) == {"a.x": "| new |\n| \\1 |", "b": ""}
    assert prose(PAGE).split() == ["#", "A", "text"]


def test_a_part_without_a_place_is_refused():
    """A table that the document has no room for is not left out in silence."""
    with pytest.raises(FlightlineError, match=r"no place for c; expected the line `<!-- generated: c -->`"):
        fill(PAGE, {"a.x": "", "c": ""})


@pytest.mark.parametrize(
    "broken",
    [
        PAGE.replace("<!-- end: b -->", ""),
        PAGE.replace("<!-- end: b -->", "<!-- end: c -->"),
        PAGE + PAGE,
        PAGE.replace("<!-- generated: b -->", ""),
    ],
)
def test_markers_that_do_not_pair_are_named(broken):
    """A lost or doubled marker would swallow text."""
    with pytest.raises(FlightlineError, match=r"the markers of .*\b[bc]\b.* do not pair"):
        fill(broken, {"a.x": "new"})


def wrong(page: str, data: Path, folder: Path) -> list[str]:
    """Parts of the page, and pictures, that are not what the data say."""
    found = read(data)
    expected = {
        f"{model}.{name}": body for model, item in found.items() for name, body in parts(model, item).items()
    }
    shown = read_parts(page)
    outdated = [name for name in sorted(expected | shown) if expected.get(name) != shown.get(name)]
    for model, item in found.items():
        if item.comparison is not None:
            path = folder / picture(model).name
            if not path.is_file() or drawn_from(item.comparison) not in path.read_text():
                outdated.append(path.name)
    return outdated


def test_the_page_and_the_picture_show_the_data():
    """Every table of docs/backtest.md is the one that the kept findings give; no digit was typed."""
    page = (ROOT / "docs/backtest.md").read_text()
    assert wrong(page, ROOT / "docs/backtest.json", ROOT / "docs") == []


def test_a_typed_digit_and_an_old_picture_are_found(tmp_path):
    """One digit in one table, or a picture of other data, and the comparison names it."""
    page = (ROOT / "docs/backtest.md").read_text()
    better = re.sub(r"(\| static \| 0 \| 0 \| 0)\.\d", r"\1.0", page, count=1)
    assert better != page
    assert wrong(better, ROOT / "docs/backtest.json", ROOT / "docs") == ["flights.summary"]
    old = (ROOT / "docs/backtest-flights.svg").read_text().replace("drawn from data ", "drawn from data 0")
    (tmp_path / "backtest-flights.svg").write_text(old)
    assert wrong(page, ROOT / "docs/backtest.json", tmp_path) == ["backtest-flights.svg"]


def test_no_figure_stands_outside_the_markers():
    """The prose of docs/backtest.md says what is shown, and never how much it is."""
    text = prose((ROOT / "docs/backtest.md").read_text())
    assert len(text) > 1000
    assert re.findall(r"\d[.,]\d", text) == []


def test_every_month_has_each_strategy():
    """April to December 2013, three strategies each, all months together; eight decisions in between."""
    found = read(ROOT / "docs/backtest.json")["flights"].comparison
    assert [month.name for month in found.months] == [f"2013-{month:02}" for month in range(4, 13)]
    for month in (*found.months, found.together):
        assert [score.strategy for score in month.scores] == ["static", "monthly", "on decision"]
    assert len(found.steps) == 8
