"""Which training answers which month: always the first, always the newest, or the last one accepted."""

from dataclasses import dataclass, field

import pytest

from pipelines.backtesting.strategies import monthly, on_decision, static
from pipelines.monitor import Monitored
from pipelines.qualify import Qualified

pytestmark = pytest.mark.unit

MONTHS = ["2013-04", "2013-05", "2013-06", "2013-07"]


@dataclass
class Scripted:
    """A world that says what it was told to, and remembers what it was asked."""

    actions: dict[str, str]  # month as of which is checked -> action
    outcomes: dict[str, str]  # challenger -> outcome
    asked: list[str] = field(default_factory=list)

    def challenge(self, training):
        """As told."""
        self.asked.append(f"challenge {training}")
        outcome = self.outcomes.get(training, "accepted")
        names = Qualified.__dataclass_fields__
        values = {"outcome": outcome, "reasons": () if outcome == "accepted" else ("G05 not as good",)}
        return Qualified(**{name: values.get(name, "") for name in names})

    def serve(self, training, month):
        """Only remembered."""
        self.asked.append(f"serve {training} in {month}")

    def check(self, month):
        """As told."""
        self.asked.append(f"check {month}")
        action = self.actions[month]
        return Monitored(
            "x", f"{month}-01", action, f"because {action}", drift="quiet: d", performance="fine: p"
        )


def test_static_answers_with_the_first():
    """One model for ever, and nothing is trained again."""
    found = static(MONTHS)
    assert set(found.answers.values()) == {"2013-04"}
    assert (found.retrainings, found.replacements) == (0, 0)


def test_monthly_answers_with_the_newest():
    """Each month its own model."""
    found = monthly(MONTHS)
    assert found.answers == {month: month for month in MONTHS}
    assert (found.retrainings, found.replacements) == (3, 3)


def test_a_decision_is_followed_where_the_challenger_is_accepted():
    """April: retrained and accepted. May: retrained and refused. June: nothing. So May's model answers on."""
    world = Scripted(
        {"2013-05": "retrain", "2013-06": "retrain", "2013-07": "keep"},
        {"2013-06": "kept"},
    )
    found = on_decision(MONTHS, world)
    assert found.answers == {
        "2013-04": "2013-04",
        "2013-05": "2013-05",
        "2013-06": "2013-05",
        "2013-07": "2013-05",
    }
    assert (found.retrainings, found.replacements) == (2, 1)
    assert [(step.month, step.champion, step.action, step.outcome) for step in found.steps] == [
        ("2013-04", "2013-04", "retrain", "accepted"),
        ("2013-05", "2013-05", "retrain", "kept"),
        ("2013-06", "2013-05", "keep", ""),
    ]
    assert found.steps[1].why == "G05 not as good"
    assert found.steps[2].reason == "because keep"


def test_a_month_is_served_before_it_is_judged():
    """The first is qualified without a champion; then each month: serve, check, train only if told."""
    world = Scripted({"2013-05": "wait", "2013-06": "retrain", "2013-07": "insufficient"}, {})
    on_decision(MONTHS, world)
    assert world.asked == [
        "challenge 2013-04",
        "serve 2013-04 in 2013-04",
        "check 2013-05",
        "serve 2013-04 in 2013-05",
        "check 2013-06",
        "challenge 2013-06",
        "serve 2013-06 in 2013-06",
        "check 2013-07",
    ]


@pytest.mark.parametrize("action", ["keep", "wait", "insufficient", "quarantine"])
def test_only_the_word_retrain_retrains(action):
    """Nothing else that the monitoring may say replaces the champion."""
    found = on_decision(MONTHS, Scripted(dict.fromkeys(MONTHS, action), {}))
    assert set(found.answers.values()) == {"2013-04"}
    assert found.retrainings == 0
