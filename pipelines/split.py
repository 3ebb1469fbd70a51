"""split: sound tables -> examples with point-in-time features, cut into train, validation and test.

What G08 judges is tried here, too: it depends on the data alone, so that another candidate costs none.
"""

import polars as pl

from pipelines.building.artifacts import Artifacts, read_table, read_tables, sha256, write_json, write_table
from pipelines.building.config import params
from pipelines.building.facts import PARTS, Facts
from pipelines.building.stage import fresh, stage_main
from pipelines.cli import command
from training import model as models
from training.features import examples as examples_of
from training.gates.leakage import Leakage, single_features
from training.gates.recomputed import differing, made_again, moments
from training.model import AT, LABEL
from training.splitting import Split, SplitParams, TimeSplit
from training.splitting import split as cut


def split(name: str) -> str:
    """Write `split/{train,validation,test}.parquet`, `split.json` and `leakage.json`."""
    model, wanted, artifacts = models.load(name), params(name), Artifacts.of(name)
    examples = examples_of(model, read_tables(artifacts.checked))
    parts = cut(examples, wanted.split, wanted.as_of)
    fresh(artifacts.split)
    facts = keep(parts, wanted.split, examples[LABEL].null_count(), artifacts)
    counts = ", ".join(f"{rows:,} {part}" for part, rows in facts.rows.items())
    without = f"{facts.unlabelled:,} without a label (cancelled, diverted or not landed yet)"
    return f"{counts}; {without}; {leakage(name)}"


def keep(parts: Split, how: SplitParams, unlabelled: int, artifacts: Artifacts) -> Facts:
    """Write the three tables and what is to be known about them, the hash of the held-out one included."""
    for part in PARTS:
        write_table(artifacts.split / f"{part}.parquet", getattr(parts, part))
    first, last = parts.test.select(pl.col(AT).min(), pl.col(AT).max().alias("last")).row(0)
    paths = [artifacts.split / f"{part}.parquet" for part in PARTS]
    facts = Facts(
        kind="time" if isinstance(how, TimeSplit) else "random",
        rows={part: getattr(parts, part).height for part in PARTS},
        unlabelled=unlabelled,
        fit_until=parts.fit_until,
        test_from=first,
        test_until=last,
        data=sha256(*paths),
        held_out=sha256(paths[-1]),
    )
    write_json(artifacts.facts, facts)
    return facts


def leakage(name: str) -> str:
    """G08: what each feature tells alone, and whether it is what was known at its moment."""
    model, artifacts = models.load(name), Artifacts.of(name)
    train, test = (read_table(artifacts.split / f"{part}.parquet") for part in ("train", "test"))
    at = moments(test, params(name).seed)
    remade = made_again(model, read_tables(artifacts.checked), test, at)
    rows = test[AT].is_in(at).sum()
    found = Leakage(
        single=single_features(train, test, model.contract),
        moments=len(at),
        rows=int(rows),
        lost=int(rows) - remade.height,
        differing=differing(remade, test, model.contract),
    )
    write_json(artifacts.leakage, found)
    return f"{len(found.differing)} features of {found.rows} rows are not what was known at {len(at)} moments"


main = stage_main("split", __doc__ or "", split)

if __name__ == "__main__":
    command(main)
