"""Sound rows and the others: every rejected row is counted, kept and explained."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

REASON = "rejected_because"


@dataclass(frozen=True)
class Rule:
    """What a sound row fulfils. `repair` names columns to blank instead of rejecting the whole row."""

    name: str
    reason: str
    sound: pl.Expr  # true, false or null; null (nothing to judge) counts as sound
    repair: tuple[str, ...] = ()


@dataclass(frozen=True)
class Checked:
    """A table after its rules: the sound rows, the rejected ones with reasons, and the counts."""

    sound: pl.DataFrame
    rejected: pl.DataFrame
    counts: dict[str, int]  # rule name -> rows it caught
    reasons: dict[str, str]


def check(table: pl.DataFrame, rules: tuple[Rule, ...]) -> Checked:
    """Apply `rules` in order; a row falls to the first rule that rejects it.

    A rule with `repair` sets those columns to null in the rows it catches and keeps the rows.
    """
    counts, rejected = {}, []
    for rule in rules:
        bad = rule.sound.fill_null(value=True).not_()
        caught = table.filter(bad)
        counts[rule.name] = caught.height
        if rule.repair:
            table = table.with_columns(
                pl.when(bad).then(None).otherwise(pl.col(column)).alias(column) for column in rule.repair
            )
        else:
            rejected.append(caught.with_columns(pl.lit(rule.name).alias(REASON)))
            table = table.filter(bad.not_())
    empty = table.clear().with_columns(pl.lit("").alias(REASON))
    return Checked(
        sound=table,
        rejected=pl.concat([empty, *rejected]),
        counts=counts,
        reasons={rule.name: rule.reason for rule in rules},
    )


def check_all(
    tables: Mapping[str, pl.DataFrame], rules: Mapping[str, tuple[Rule, ...]]
) -> dict[str, Checked]:
    """`check` for each table with its rules; a table without rules passes whole."""
    return {name: check(table, rules.get(name, ())) for name, table in sorted(tables.items())}
