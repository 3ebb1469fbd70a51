"""G15: were the held-out rows kept from training, are they still the same, and how often were they asked?"""

from datetime import datetime

import polars as pl

from training.gates.policy import Fresh
from training.gates.verdict import Verdict, judge
from training.model import AT, ID, KEYS, LABEL, LABEL_AT


def held_apart(
    parts: dict[str, pl.DataFrame], fit_until: datetime | None, pinned: str, found: str, limits: Fresh
) -> Verdict:
    """The half of G15 that depends on the run alone.

    Args:
        parts: the tables train, validation and test.
        fit_until: where the split is by time, the moment at which fitting ended; None where rows have none.
        pinned: hash of the held-out table as the split made it.
        found: hash of the held-out table as it is now.
        limits: the share of held-out rows that may have a twin: the same features and label, another id.
    """
    test = parts["test"]
    fitted = {name: table for name, table in parts.items() if name != "test"}
    problems = (
        [] if found == pinned else [f"the held-out table was {pinned[:12]} when split, is {found[:12]}"]
    )
    if test.is_empty():
        problems.append("there is no held-out row")
    for name, table in parts.items():
        twice = table.height - table[ID].n_unique()
        if twice:
            problems.append(f"{twice} ids of {name} come twice")
    shared = {name: test.join(table, on=ID, how="semi").height for name, table in fitted.items()}
    problems += [f"{rows} held-out rows are in {name}" for name, rows in shared.items() if rows]
    twins = sum(_twins(test, table) for table in fitted.values())
    share = twins / max(test.height, 1)
    if not share <= limits.max_twins:
        problems.append(f"{twins} held-out rows have a twin among the fitted, over {limits.max_twins:.1%}")
    if fit_until is not None:
        problems += _out_of_time(test, fitted, fit_until)
    value = f"{sum(shared.values())} shared ids, {twins} twins, {found[:12]}"
    threshold = f"0 shared ids, twins <= {limits.max_twins:.1%}, {pinned[:12]}"
    when = "" if fit_until is None else f" and begin after {fit_until:%Y-%m-%d %H:%M}, where fitting ended"
    return judge(
        "G15", value, threshold, problems, f"the {test.height} held-out rows are of no other part{when}"
    )


def fresh(uses: int, pinned: str, found: str, limits: Fresh) -> Verdict:
    """The half of G15 that depends on the world: how often were these rows asked, and are they the bundle's?

    Args:
        uses: how many bundles had been judged on these rows when this one first was, itself included.
        pinned: hash of the held-out table that the bundle names.
        found: hash of the held-out table that it is judged on.
        limits: from how many uses on the rows are worn out, and how many are allowed.
    """
    problems = [] if found == pinned else [f"the bundle was held against {pinned[:12]}, here is {found[:12]}"]
    if not uses <= limits.max_uses:
        problems.append(f"worn out: {uses} models were chosen between on these rows, over {limits.max_uses}")
    value, fine = f"{uses} uses", f"model {uses} that is judged on these rows"
    if uses > limits.warn_after:
        warning = f"warning: worn out after {uses} models"
        value, fine = f"{value}, {warning}", f"{warning}, the best of which looks better than it is"
    return judge("G15", value, f"<= {limits.max_uses} uses, warn after {limits.warn_after}", problems, fine)


def _twins(test: pl.DataFrame, other: pl.DataFrame) -> int:
    """Rows of `test` that have all but their id and their moments in common with a row of `other`."""
    same = [name for name in test.columns if name in other.columns and (name == LABEL or name not in KEYS)]
    unlike = test.join(other, on=ID, how="anti")  # the others are counted by their ids
    return unlike.join(other, on=same, how="semi", nulls_equal=True).height


def _out_of_time(test: pl.DataFrame, fitted: dict[str, pl.DataFrame], fit_until: datetime) -> list[str]:
    """A null moment is no proof of an earlier one, so it counts as too late; in the test, as too early."""
    early = test.filter(~(pl.col(AT) >= fit_until).fill_null(value=False)).height
    problems = [f"{early} held-out rows begin before {fit_until}"] if early else []
    for name, table in fitted.items():
        in_time = (pl.col(AT) < fit_until) & (pl.col(LABEL_AT) < fit_until)
        late = table.filter(~in_time.fill_null(value=False)).height
        if late:
            problems.append(f"{late} rows of {name}, or their labels, were known only after {fit_until}")
    return problems
