"""The backtest runs the real stages, and policy.yaml quotes what it found."""

import json
import re
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import msgspec
import pytest

from contract.errors import FlightlineError
from pipelines import backtest
from pipelines.building.config import params
from pipelines.qualify import OF_THE_RUN
from training.splitting import TimeSplit

ROOT = Path(__file__).parents[2]
QUOTE = re.compile(
    r"(?:- metric: |min_|max_)?(?P<name>\w+)(?:: [\d.]+)? #.*?(?P<range>-?\d\.\d\d to \d\.\d\d)"
)
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
    plan = list(backtest._plan(wanted, 3))
    assert [name for name, _, _ in plan] == ["2013-11", "2013-12", "2014-01"]
    assert all(isinstance(how, TimeSplit) for _, how, _ in plan)


def test_a_backtest_judges_each_split_with_the_real_stages(monkeypatch, capsys):
    """Three splits of iris: the metrics and the verdicts of each, as JSON; the folder is left as it was."""
    monkeypatch.chdir(ROOT)
    assert backtest.main(["--model", "iris", "--runs", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in found["trainings"]] == ["0", "1", "2"]
    assert [item["code"] for item in found["trainings"][0]["verdicts"]] == list(OF_THE_RUN)
    least, most = found["ranges"]["accuracy"]
    assert 0.8 < least <= most <= 1
    assert Path.cwd() == ROOT


def test_the_table_counts_verdicts(monkeypatch, capsys):
    """Without --json it is Markdown, ready for docs/backtest.md."""
    monkeypatch.chdir(ROOT)
    backtest.main(["--model", "iris", "--runs", "2"])
    assert "| G01 | 0 | 0 | 2 |" in capsys.readouterr().out


def test_labels_that_end_before_the_backtest_are_said(uncrowned, monkeypatch):
    """A moment after the last label is refused in a sentence, before anything is trained."""
    uncrowned.change("params.yaml", "as_of", "2014-03-01T00:00:00Z")
    monkeypatch.chdir(uncrowned.folder)
    with pytest.raises(FlightlineError, match="the labels of flights end on 2014-01-01"):
        list(islice(backtest.backtest("flights", 1), 1))
