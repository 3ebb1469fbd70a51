"""materialise: the past of a model's features, computed offline, becomes what its online store starts from.

Up to `--as-of` the store then answers from what was computed here, after it from the events that it is sent.
It is one switch to a new generation: a reader sees the old one or the new one, and a kill leaves the old one.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

import polars as pl

from contract.errors import ConfigError, FlightlineError
from contract.schema import Contract
from pipelines.building.config import params
from pipelines.building.sources import read_sources
from pipelines.cli import OK, command, json_option, parser, quiet
from pipelines.ledger import parse_moment
from pipelines.machine.processes import Say
from pipelines.machine.settings import Settings
from serving.features.facts import Fact, microseconds, moment_of
from serving.features.groups import Group
from serving.features.store import Base, Held, Published, Store, key_text, open_store
from serving.settings import default_store
from training import model as models
from training.materialising import Balance, balances
from training.model import AT, Model
from training.validation import check_all

REACH_DAYS = 1  # requests may still ask for a moment before the switch
KEEP_LOG_DAYS = 35  # a new feature of four weeks can be computed from the log


@dataclass(frozen=True)
class Materialised:
    """What was written, and up to when it speaks."""

    model: str
    as_of: str
    generation: int
    totals: int  # rows of running totals
    records: int
    pruned: int  # events that were removed from the log


def materialise(
    model: Model,
    tables: dict[str, pl.DataFrame],
    as_of: datetime,
    store: Store,
    *,
    reach: timedelta = timedelta(days=REACH_DAYS),
    keep_log: timedelta = timedelta(days=KEEP_LOG_DAYS),
    say: Say = print,
) -> Materialised:
    """Write the past of `model` up to `as_of`, from the sound raw `tables`, and switch to it.

    Raises:
        FlightlineError: the model stores nothing, the store is already further, or it fails.
    """
    contract = model.contract
    if not contract.stored:
        raise FlightlineError(
            f"no feature of {contract.model} is stored",
            "a feature with an aggregate or a look-up",
            "Nothing need be materialised for it",
        )
    _require_progress(store, contract, as_of)
    generation, totals, records = store.begin(), 0, 0
    held: dict[str, Held] = {}
    for balance in balances(model.events(tables), contract, as_of, reach):
        group = Group(balance.stream, balance.by, balance.summed, balance.latest)
        store.register([group])
        store.put_base(generation, group.id, _base(balance))
        held[group.id] = Held(
            group=group,
            ready=True,
            generation=generation,
            as_of=microseconds(as_of),
            since=microseconds(balance.since),
        )
        totals += balance.totals.height
        say(f"{balance.stream} by {', '.join(balance.by)}: {balance.totals.height:,} totals")
    published: dict[str, Published] = {}
    for name, by, values in _tables(contract):
        table = _record_table(model, tables, name, (*by, *values)).drop_nulls(by)
        store.put_records(generation, name, _records(table, by, values))
        published[name] = Published(generation, microseconds(as_of))
        records += table.height
        say(f"{name}: {table.height:,} records")
    store.switch(generation, held, published)
    pruned = store.prune_log(microseconds(as_of - keep_log))
    say(f"{contract.model}: generation {generation} is read, as of {as_of.isoformat()}")
    return Materialised(contract.model, as_of.isoformat(), generation, totals, records, pruned)


def _require_progress(store: Store, contract: Contract, as_of: datetime) -> None:
    """Refuse to go back: the single events up to the present `as_of` are gone.

    Raises:
        FlightlineError: the store answers from a later moment.
    """
    streams = {spec.events for feature in contract.stored if (spec := feature.aggregate) is not None}
    done = [held.as_of for held in store.state().groups.values() if held.group.stream in streams]
    if max(done, default=microseconds(as_of)) > microseconds(as_of):
        raise FlightlineError(
            f"the store is materialised up to {moment_of(max(done)).isoformat()}",
            f"a moment not after {as_of.isoformat()}",
            "Choose a later --as-of, or begin with an empty store",
        )


def _base(balance: Balance) -> Iterator[tuple[str, Base]]:
    """The rows of a balance as a store takes them."""
    totals = ["n", *(f"{what}_{value}" for value in balance.summed for what in ("known", "sum"))]
    latest = [f"last_{value}" for value in balance.latest]
    keys, width = len(balance.by), len(totals)
    exact = balance.totals.select(
        *balance.by, AT, pl.col(totals).cast(pl.Int64), *(pl.col(name).cast(pl.Float64) for name in latest)
    )
    for row in exact.iter_rows():
        numbers = tuple(0 if number is None else number for number in row[keys + 1 : keys + 1 + width])
        yield key_text(row[:keys]), Base(row[keys], numbers, row[keys + 1 + width :])


def _tables(contract: Contract) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """The tables that the contract's look-ups name: name, keys, values.

    Raises:
        ConfigError: two look-ups go by different keys of one table.
    """
    found: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {}
    for feature in contract.stored:
        if (spec := feature.lookup) is not None:
            by, values = found.get(spec.records, (spec.by, ()))
            if by != spec.by:
                raise ConfigError(
                    f"records '{spec.records}' are looked up by {by} and by {spec.by}",
                    "one key a table",
                    "Give each key a table of its own",
                )
            found[spec.records] = by, (*values, *([] if spec.value in values else [spec.value]))
    return [(name, by, values) for name, (by, values) in sorted(found.items())]


def _record_table(
    model: Model, tables: dict[str, pl.DataFrame], name: str, columns: tuple[str, ...]
) -> pl.DataFrame:
    records = model.records(tables)
    if name not in records or not set(columns) <= set(records[name].columns):
        raise ConfigError(
            f"{model.contract.model} declares records '{name}' with {', '.join(columns)} and makes none such",
            "a table of that name and these columns",
            "Return it from the model's `records`",
        )
    return records[name].select(columns)


def _records(
    table: pl.DataFrame, by: tuple[str, ...], values: tuple[str, ...]
) -> Iterator[tuple[str, dict[str, Fact]]]:
    for row in table.iter_rows(named=True):
        yield key_text(tuple(row[name] for name in by)), {name: row[name] for name in values}


def sound_tables(name: str, as_of: datetime) -> dict[str, pl.DataFrame]:
    """The raw tables of the model `name` as they were known at `as_of`, without unsound rows."""
    model = models.load(name)
    known = model.known(model.arrange(read_sources(params(name).ingest)), as_of)
    return {table: checked.sound for table, checked in check_all(known, model.rules).items()}


def main(argv: list[str] | None = None) -> int:
    """Materialise a model's features."""
    options = parser(
        "materialise",
        __doc__,
        "materialise flights --as-of 2013-06-01",
    )
    options.add_argument("model", help=f"one of {', '.join(models.names())}")
    options.add_argument("--as-of", type=parse_moment, required=True, help="up to and including, UTC")
    options.add_argument("--environment", default="production", help="whose store (production)")
    options.add_argument(
        "--store", default="", help="its address (FLIGHTLINE_ONLINE_STORE, else the environment's own file)"
    )
    options.add_argument(
        "--keep-log-days", type=int, default=KEEP_LOG_DAYS, help="events older than this leave the log"
    )
    json_option(options)
    given = options.parse_args(argv)
    model = models.load(given.model)
    settings = Settings.from_environment()
    address = given.store or os.environ.get("FLIGHTLINE_ONLINE_STORE") or ""
    store = open_store(address or str(default_store(settings.state(given.environment))))
    try:
        say = quiet if given.json else print
        say(f"{given.model}: reading what was known at {given.as_of.isoformat()}")
        done = materialise(
            model,
            sound_tables(given.model, given.as_of),
            given.as_of,
            store,
            keep_log=timedelta(days=given.keep_log_days),
            say=say,
        )
    finally:
        store.close()
    if given.json:
        print(json.dumps(asdict(done)))
    return OK


if __name__ == "__main__":
    command(main)
