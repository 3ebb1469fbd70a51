"""The backtest runs the real stages, and policy.yaml quotes what it found."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from contract.errors import FlightlineError
from pipelines import backtest
from pipelines.backtesting.trainings import plan, read, stages
from pipelines.building.config import params
from tests.gates.workshop import MODEL
from training.gates.policy import CODES

ROOT = Path(__file__).parents[2]
QUOTE = re.compile(
    r"(?:- metric: |min_|max_)?(?P<name>\w+)(?:: [\d.]+)? #.*?(?P<range>-?\d\.\d\d to \d\.\d\d)"
)
MOVES = re.compile(r"margin: .*moves it by (?P<least>[-+]\d\.\d{3}) to (?P<most>[-+]\d\.\d{3})")
ROW = re.compile(r"^\| (?P<name>\w+) \| (?P<least>-?\d\.\d+) \| (?P<most>-?\d\.\d+) \|$", re.MULTILINE)


def quoted(policy: str) -> dict[str, dict[str, str]]:
    """Model -> figure -> range that a comment of policy.yaml quotes."""
    found: dict[str, dict[str, str]] = {}
    for line in policy.splitlines():
        if re.match(r"\w", line):
            model = found.setdefault(line.rstrip(":"), {})
        elif match := QUOTE.search(line):
            model[match["name"]] = match["range"]
    return found


def measured(document: str) -> dict[str, dict[str, str]]:
    """Model -> figure -> range that docs/backtest.md shows, with two digits."""
    return {
        section.split("\n", 1)[0]: {
            row["name"]: f"{float(row['least']):.2f} to {float(row['most']):.2f}"
            for row in ROW.finditer(section)
        }
        for section in document.split("\n## ")[1:]
    }


def wrong(policy: str, document: str) -> list[str]:
    """Quotes that are not what was measured."""
    shown = measured(document)
    return [
        f"{model} {name}: {text}, measured {shown[model].get(name, 'never')}"
        for model, quotes in quoted(policy).items()
        for name, text in quotes.items()
        if shown[model].get(name) != text
    ]


@pytest.mark.unit
def test_policy_quotes_what_the_backtest_found():
    """Every range in a comment is the range in docs/backtest.md."""
    policy = (ROOT / "policy.yaml").read_text()
    assert sum(len(quotes) for quotes in quoted(policy).values()) >= 11
    assert wrong(policy, (ROOT / "docs/backtest.md").read_text()) == []


@pytest.mark.unit
def test_policy_quotes_what_a_month_moves():
    """The comment on G05's margin is the range of the loss against the training a month before."""
    (quote,) = MOVES.finditer((ROOT / "policy.yaml").read_text())
    least, most = backtest.read(ROOT / "docs/backtest.json")[MODEL].ranges()["over_the_month_before"]
    assert (quote["least"], quote["most"]) == (f"{least:+.3f}", f"{most:+.3f}")


@pytest.mark.unit
def test_a_quote_that_was_not_measured_is_found():
    """One digit off, and the comparison names the figure."""
    document = "# x\n\n## flights\n\n| roc_auc | 0.6494 | 0.7993 |\n"
    assert wrong("flights:\n  - metric: roc_auc # 0.65 to 0.80 over\n", document) == []
    assert wrong("flights:\n  - metric: roc_auc # 0.66 to 0.80 over\n", document) == [
        "flights roc_auc: 0.66 to 0.80, measured 0.65 to 0.80"
    ]


@pytest.mark.unit
def test_months_follow_one_another_over_the_turn_of_the_year(monkeypatch):
    """The plan starts at the parameters' own moment."""
    monkeypatch.chdir(ROOT)
    wanted = msgspec.structs.replace(params("flights"), as_of=datetime(2013, 11, 1, tzinfo=UTC))
    found = list(plan(wanted, 3))
    assert [item.name for item in found] == ["2013-11", "2013-12", "2014-01"]
    assert all(item.seed is None for item in found)


@pytest.mark.unit
def test_the_stages_are_those_that_dvc_needs():
    """A stage that another one needs is run without being named here; what comes before the split is not."""
    until_gate, whole = ([stage.__name__ for stage in stages(until)] for until in ("gate", "package"))
    assert until_gate[-1] == "gate"
    assert whole[-1] == "package"
    assert {"train", "evaluate"} <= set(until_gate) <= set(whole)
    assert not {"ingest", "validate", "split"} & set(whole)
    with pytest.raises(FlightlineError, match=r"dvc\.yaml has no stage 'pack'"):
        stages("pack")


def test_a_backtest_judges_each_split_with_the_real_stages(monkeypatch, capsys):
    """Three splits of iris: the metrics and the verdicts of each, as JSON; the folder is left as it was."""
    monkeypatch.chdir(ROOT)
    assert backtest.main(["--model", "iris", "--runs", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["iris"]
    assert [one["name"] for one in found["trainings"]] == ["0", "1", "2"]
    assert {"G01", "G03", "G04", "G09", "G12"} <= set(found["gates"]) <= set(CODES)
    assert all(sum(count.values()) == 3 for count in found["gates"].values())
    accuracies = [one["figures"]["accuracy"] for one in found["trainings"]]
    assert len(set(accuracies)) > 1  # each split is another one
    assert 0.8 < min(accuracies) <= max(accuracies) <= 1
    assert Path.cwd() == ROOT


@pytest.mark.slow
def test_the_command_writes_the_page_and_keeps_the_other_models(uncrowned, monkeypatch, capsys):
    """--write fills the parts of its model; the data of the others stay, and nothing else is printed."""
    monkeypatch.chdir(uncrowned.folder)
    docs = uncrowned.folder / "docs"
    docs.mkdir()
    marks = "".join(
        f"<!-- generated: iris.{name} -->\n<!-- end: iris.{name} -->\n" for name in ("ranges", "gates")
    )
    (docs / "backtest.md").write_text(f"# Mine\n{marks}")
    (docs / "backtest.json").write_bytes((ROOT / "docs/backtest.json").read_bytes())
    assert backtest.main(["--model", "iris", "--runs", "2", "--write"]) == 0
    page = (docs / "backtest.md").read_text()
    assert page.startswith("# Mine\n")
    assert re.search(r"^\| G01 \| 0 \| 0 \| 2 \|$", page, re.MULTILINE)
    kept = backtest.read(docs / "backtest.json")
    assert len(kept["iris"].trainings) == 2
    assert kept["flights"] == backtest.read(ROOT / "docs/backtest.json")["flights"]
    assert capsys.readouterr().out == "wrote docs/backtest.json\nwrote docs/backtest.md\n"


def test_the_table_counts_verdicts(monkeypatch, capsys):
    """Without an option it is Markdown to read."""
    monkeypatch.chdir(ROOT)
    backtest.main(["--model", "iris", "--runs", "2"])
    assert "| G01 | 0 | 0 | 2 |" in capsys.readouterr().out


@pytest.mark.unit
def test_no_training_is_refused(monkeypatch):
    """Zero trainings would be an empty page."""
    monkeypatch.chdir(ROOT)
    with pytest.raises(FlightlineError, match="--runs is 0; expected at least one training"):
        backtest.main(["--model", "iris", "--runs", "0"])


def test_labels_that_end_before_the_backtest_are_said(uncrowned, monkeypatch):
    """A moment after the last label is refused in a sentence, before anything is trained."""
    uncrowned.change("params.yaml", "as_of", "2014-03-01T00:00:00Z")
    monkeypatch.chdir(uncrowned.folder)
    wanted = params(MODEL)
    with pytest.raises(FlightlineError, match="the labels of flights end on 2014-01-01"):
        read(MODEL, wanted, list(plan(wanted, 1)))
