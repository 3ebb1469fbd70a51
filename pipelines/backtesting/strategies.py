"""Which training answers the flights of each month, under three ways of retraining."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

import msgspec

STATIC, MONTHLY, ON_DECISION = "static", "monthly", "on decision"


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was decided at the end of one month, and what came of it."""

    month: str
    champion: str  # the training that answered the month
    action: str  # of monitoring.decision
    reason: str
    drift: str
    performance: str
    outcome: str = ""  # of the challenger: accepted, kept or failed; empty where there was none
    why: str = ""  # it was not accepted


class Chosen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The training that answers each month, how often was trained, and what was decided."""

    answers: dict[str, str]  # month -> name of a training
    retrainings: int
    steps: tuple[Step, ...] = ()

    @property
    def replacements(self) -> int:
        """How often another training answers than the month before."""
        return sum(before != after for before, after in pairwise(self.answers.values()))


class Checked(Protocol):
    """What a check of the champion found: `pipelines.monitor.Monitored` is one."""

    @property
    def action(self) -> str: ...  # noqa: D102 - as there
    @property
    def reason(self) -> str: ...  # noqa: D102 - as there
    @property
    def drift(self) -> str: ...  # noqa: D102 - as there
    @property
    def performance(self) -> str: ...  # noqa: D102 - as there


class Judged(Protocol):
    """What became of a challenger: `pipelines.qualify.Qualified` is one."""

    @property
    def outcome(self) -> str: ...  # noqa: D102 - as there
    @property
    def reasons(self) -> tuple[str, ...]: ...  # noqa: D102 - as there


class World(Protocol):
    """Where a champion serves, is watched and is challenged."""

    def challenge(self, training: str) -> Judged:
        """Qualify the training against the champion; where it is accepted, it is the champion from now on."""

    def serve(self, training: str, month: str) -> None:
        """Let the champion answer every flight of `month`."""

    def check(self, month: str) -> Checked:
        """Watch the champion as of the first moment of `month`, and decide."""


def static(months: Sequence[str]) -> Chosen:
    """The first training answers for ever."""
    return Chosen(dict.fromkeys(months, months[0]), retrainings=0)


def monthly(months: Sequence[str]) -> Chosen:
    """A training as of the first of each month answers that month, whatever its gates say."""
    return Chosen({month: month for month in months}, retrainings=len(months) - 1)


def on_decision(months: Sequence[str], world: World) -> Chosen:
    """A training as of the end of a month where the check of that month says retrain and it is accepted.

    The first training starts as champion if it is accepted without one. What is decided at the end of the
    last month no longer matters here and is not asked.

    Raises:
        FlightlineError: the first training is not accepted.
    """
    champion = months[0]
    world.challenge(champion)
    answers, steps = {}, []
    for month, following in pairwise(months):
        answers[month] = champion
        world.serve(champion, month)
        found = world.check(following)
        step = Step(month, champion, found.action, found.reason, found.drift, found.performance)
        if found.action == "retrain":
            judged = world.challenge(following)
            step = msgspec.structs.replace(step, outcome=judged.outcome, why="; ".join(judged.reasons))
            champion = following if judged.outcome == "accepted" else champion
        steps.append(step)
    answers[months[-1]] = champion
    return Chosen(answers, sum(step.outcome != "" for step in steps), tuple(steps))
