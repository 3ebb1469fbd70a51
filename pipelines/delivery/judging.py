"""The gates of the world: those whose verdict depends on what is live, on a clock or on a counter."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from contract.bundle import Bundle
from pipelines.building.artifacts import Artifacts, read_json, read_table, sha256
from pipelines.building.facts import Facts
from pipelines.delivery.comparing import compare, compare_slices
from pipelines.delivery.footprint import measure
from pipelines.delivery.held_out import period, uses, would_use
from pipelines.delivery.timing import time_graph
from pipelines.machine.settings import Settings
from training.gates.freshness import fresh
from training.gates.policy import CODES, GatePolicy
from training.gates.size import small_enough
from training.gates.speed import fast_enough
from training.gates.verdict import Evidence, Verdict, audited

AGAINST_CHAMPION = ("G05", "G06")  # where these fail, the champion stays
ONLY_IN_WORLD = (*AGAINST_CHAMPION, "G10", "G11")
IN_BOTH = ("G15",)  # its overlap and hash belong to the run, its counter to the world
OF_THE_RUN = tuple(code for code in CODES if code not in ONLY_IN_WORLD)
OF_THE_WORLD = tuple(code for code in CODES if code in (*ONLY_IN_WORLD, *IN_BOTH))


@dataclass(frozen=True)
class Case:
    """A bundle, the run it came from, and the world it would go into."""

    bundle: Bundle
    champion: Bundle | None
    artifacts: Artifacts
    limits: GatePolicy
    settings: Settings
    dry: bool = False  # only to look: no use of the held-out rows is noted

    @cached_property
    def test(self) -> pl.DataFrame:
        """The held-out rows."""
        return read_table(self.artifacts.split / "test.parquet")

    @cached_property
    def by_day(self) -> bool:
        """Whether rows have a time of their own."""
        return read_json(self.artifacts.facts, Facts).kind == "time"


def against_champion(case: Case) -> Verdict:
    """G05."""
    return compare(case.bundle, case.champion, case.test, case.limits, by_day=case.by_day)


def slice_by_slice(case: Case) -> Verdict:
    """G06."""
    predictions = case.artifacts.predictions
    return compare_slices(case.bundle, case.champion, case.test, case.limits, predictions, by_day=case.by_day)


def timed(case: Case) -> Verdict:
    """G10."""
    return fast_enough(time_graph(case.bundle, case.test), case.limits.G10)


def weighed(case: Case) -> Verdict:
    """G11."""
    return small_enough(measure(case.bundle, case.settings), case.limits.G11)


def used(case: Case) -> Verdict:
    """G15, its other half: only the world knows how often the rows were asked.

    Each half can fail the gate; neither replaces the other.
    """
    count = would_use if case.dry else uses
    return fresh(
        count(case.settings, case.bundle.model, period(case.test), case.bundle.digest),
        case.bundle.environment.held_out,
        sha256(case.artifacts.split / "test.parquet"),
        case.limits.G15,
    )


# Each gate of the world and who judges it; one that is missing here fails as not judged.
JUDGES: Mapping[str, Callable[[Case], Verdict]] = {
    "G05": against_champion,
    "G06": slice_by_slice,
    "G10": timed,
    "G11": weighed,
    "G15": used,
}


def judge_world(case: Case) -> Evidence:
    """The verdicts of all gates of the world, settled by the policy.

    Raises:
        FlightlineError: something could not be measured.
    """
    found = Evidence(tuple(judge(case) for judge in JUDGES.values()))
    return audited(found, OF_THE_WORLD, case.limits.may_not_apply)


def decide(run: Evidence, world: Evidence, champion: Bundle | None) -> str:
    """accepted, kept or failed.

    The champion is kept where only a comparison with it fails. Without a champion there is none to keep: then
    a comparison that fails — with the simple model, or because the policy demands one — is a failure.
    """
    failed = {verdict.code for verdict in (*run.failed(), *world.failed())}
    if not failed:
        return "accepted"
    return "kept" if champion is not None and failed <= set(AGAINST_CHAMPION) else "failed"
