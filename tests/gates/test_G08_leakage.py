"""G08 bites when a feature knows what only the future can tell, however it came by it."""

import dataclasses
import math
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import polars as pl
import pytest

from contract.schema import Aggregate, Contract, Feature
from pipelines.building.artifacts import read_tables
from pipelines.split import leakage, split
from pipelines.train import train
from tests.gates.workshop import at_full_size
from training.features import examples
from training.gates.leakage import Leakage, no_leak, single_features
from training.gates.policy import NoLeak
from training.gates.recomputed import MOMENTS, differing, made_again, moments
from training.learning import boosted_trees
from training.model import AT, ID, LABEL, LABEL_AT, Model
from training.models import flights
from training.models.flights import CONTRACT

pytestmark = pytest.mark.lengthy

LIMITS = NoLeak(max_single_auc=0.75, min_rows=10)
FINE = Leakage(single={"a": 0.75, "b": 0.5}, moments=3, rows=10, lost=0, differing={})


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"single": {"a": np.nextafter(0.75, 1)}}, "too good to be true alone, over 0.75: a (0.750)"),
        ({"single": {"a": math.nan}}, "too good to be true alone, over 0.75: a (nan)"),
        ({"single": {}}, "no feature was measured"),
        ({"differing": {"b": 1}}, "not what was known at the moment of prediction: b (1 of 10 rows)"),
        ({"lost": 2}, "2 of 10 examples cannot be made from what was known"),
        ({"rows": 9}, "9 examples were made again, under 10"),
        ({"differing": {str(i): 1 for i in range(7)}}, "and 2 more"),
    ],
)
def test_each_way_to_fail_is_named(change, problem):
    """The reason names the feature and what of it is wrong."""
    found = no_leak(msgspec.structs.replace(FINE, **change), LIMITS)
    assert found.verdict == "fail"
    assert problem in found.reason


def test_exactly_at_the_thresholds_passes():
    """A threshold is the last value that is allowed."""
    assert no_leak(FINE, LIMITS).verdict == "pass"


def test_a_threshold_of_nan_lets_nothing_pass():
    """Even where a policy was not read from its file."""
    assert no_leak(FINE, NoLeak(max_single_auc=math.nan, min_rows=10)).verdict == "fail"


def numbers(*names: str, classes: tuple[str, ...] = ("no", "yes")) -> Contract:
    """A contract of numbers, and of a category `letter`."""
    letter = Feature("letter", "category", "a letter")
    return Contract(
        model="toy",
        target="which",
        classes=classes,
        scores="probability",
        features=(*(Feature(name, "number", name) for name in names), letter),
    )


def drawn(seed: int, classes: int = 2) -> pl.DataFrame:
    """Features of which each tells the label in another way, or not at all."""
    random = np.random.default_rng(seed)
    label = random.integers(0, classes, 4000)
    chance = random.normal(size=4000)
    return pl.DataFrame(
        {
            LABEL: label,
            "same": label.astype(float),
            "turned": -label.astype(float),
            # Late flights lie at both ends: no direction would show it.
            "ends": np.where(label == 1, np.sign(chance) * 3, 0) + random.normal(size=4000) / 3,
            "missing": np.where(label == 1, np.nan, chance),
            "infinite": np.where(label == 1, np.inf, chance),
            "chance": chance,
            "letter": np.array(["x", "y", "z"])[label],
        }
    )


def test_whatever_tells_the_label_shows_alone():
    """Either direction, both ends, being missing or infinite, a category; chance stays at a half."""
    names = ("same", "turned", "ends", "missing", "infinite", "chance")
    found = single_features(drawn(0), drawn(1), numbers(*names))
    assert {name for name, auc in found.items() if auc > 0.99} == {*names, "letter"} - {"chance"}
    assert abs(found["chance"] - 0.5) < 0.05


def test_of_several_classes_each_counts_against_the_rest():
    """A feature that tells one of three classes is half as good as one that tells all."""
    rows = [drawn(seed, 3).with_columns(one=(pl.col(LABEL) == 0).cast(pl.Float64)) for seed in (0, 1)]
    found = single_features(*rows, numbers("same", "one", classes=("a", "b", "c")))
    assert found["same"] == 1.0
    assert 0.8 < found["one"] < 0.9


def test_held_out_rows_of_one_class_alone_measure_nothing():
    """NaN, which no limit lets pass."""
    rows = drawn(0)
    assert math.isnan(single_features(rows, rows.filter(pl.col(LABEL) == 0), numbers("same"))["same"])


START = datetime(2013, 1, 1, tzinfo=UTC)
SHOP = Contract(
    model="shop",
    target="which",
    classes=("no", "yes"),
    scores="probability",
    features=(
        Feature("price", "number", "as asked"),
        Feature(
            "sold_2h",
            "number",
            "sold",
            "stream",
            nullable=True,
            aggregate=Aggregate("sales", ("kind",), "count", 120),
        ),
    ),
)


def shop(shift_minutes: int = 0) -> Model:
    """Requests of two kinds, and sales whose stream is off by so many minutes."""
    moved = (pl.col(AT) - timedelta(minutes=shift_minutes)).alias(AT)
    return Model(
        contract=SHOP,
        arrange=dict,
        rows=lambda tables: tables["asked"].with_columns(
            pl.lit(0).alias(LABEL), pl.col("asked_at").alias(AT), pl.col("asked_at").alias(LABEL_AT)
        ),
        events=lambda tables: {"sales": tables["sold"].with_columns(moved)},
        params=msgspec.Struct,
        fit=None,
        simple=None,
        known_at={"asked": "shown_at", "sold": AT},
        requests=("asked",),
    )


def shop_tables() -> dict[str, pl.DataFrame]:
    """A request every 7 minutes, which is shown a day later; a sale every 5."""

    def every(minutes):
        return [START + timedelta(minutes=minutes * i) for i in range(200)]

    asked = pl.DataFrame({ID: [f"r{i}" for i in range(200)], "asked_at": every(7)})
    asked = asked.with_columns(
        shown_at=pl.col("asked_at") + timedelta(days=1), price=pl.lit(1.5), kind=pl.Series(["a", "b"] * 100)
    )
    return {"asked": asked, "sold": pl.DataFrame({AT: every(5), "kind": ["a", "a", "b", "b"] * 50})}


def differences(model: Model) -> dict[str, int]:
    """What the second net finds in the shop."""
    rows = examples(model, shop_tables())
    return differing(made_again(model, shop_tables(), rows, moments(rows, 0)), rows, SHOP)


def test_what_was_known_gives_the_same_features():
    """A request's own row is known at its moment though its table shows it a day later."""
    rows = examples(shop(), shop_tables())
    at = moments(rows, 0)
    assert len(at) == len(set(at)) == MOMENTS
    assert at == moments(rows, 0) == sorted(at)
    assert made_again(shop(), shop_tables(), rows, at).height == MOMENTS
    assert differences(shop()) == {}


def test_a_stream_that_runs_ahead_differs():
    """Ten minutes are enough, two sales of either kind; a stream that lags sees nothing it should not."""
    assert set(differences(shop(10))) == {"sold_2h"}
    assert differences(shop(-10)) == {}


def test_an_example_that_was_not_known_is_lost():
    """Without `requests` the row of the request comes from tomorrow."""
    rows = examples(shop(), shop_tables())
    model = dataclasses.replace(shop(), requests=())
    assert made_again(model, shop_tables(), rows, moments(rows, 0)).height == 0


def late(_: pl.Expr) -> pl.Expr:
    """The target itself."""
    return flights.LATE.cast(pl.Float64)


def noisy(key: pl.Expr) -> pl.Expr:
    """The target with noise, drawn by the flight's id so that it is the same whenever it is made."""
    return flights.LATE + key.hash(1).cast(pl.Float64) / 2**64 * 1.5


def air_time(_: pl.Expr) -> pl.Expr:
    """Minutes in the air."""
    return pl.col("air_time").cast(pl.Float64)


@pytest.mark.parametrize(("what", "loud"), [(late, True), (noisy, True), (air_time, False)])
def test_a_feature_of_the_landing_is_stopped(workshop, patch_model, what, loud):
    """The target, the target with noise, what only a landing tells; under a name that no list forbids."""
    leak(workshop, patch_model, "landings", what)
    assert ("too good to be true alone, over 0.8: hint" in workshop.verdicts()["G08"].reason) == loud


@at_full_size
def test_a_feature_of_the_departure_is_stopped(workshop, patch_model):
    """Its delay tells nearly all, and is known an hour after the prediction at the earliest."""
    leak(workshop, patch_model, "departures", lambda _: pl.col("delay").cast(pl.Float64))
    assert "too good to be true alone, over 0.8: hint" in workshop.verdicts()["G08"].reason


def leak(workshop, patch_model, table, what) -> None:
    """Give flights the feature `hint` from a later `table`, train, and see the pipeline stop."""
    contract = msgspec.structs.replace(
        CONTRACT, features=(*CONTRACT.features, Feature("hint", "number", "a leak", nullable=True))
    )

    def rows(tables):
        hints = tables[table].select(ID, what(pl.col(ID)).alias("hint"))
        return flights.rows(tables).join(hints, on=ID, how="left")

    patch_model(
        contract=contract,
        rows=rows,
        fit=boosted_trees,
    )
    hints = rows(read_tables(workshop.artifacts.checked)).select(ID, "hint")
    for part in ("train", "validation", "test"):
        workshop.replace_part(part, workshop.part(part).join(hints, on=ID, how="left"))
    workshop.change("params.yaml", "train.max_iter", 10)
    workshop.rebuild(train, probes=(leakage,))
    assert "not what was known at the moment of prediction: hint" in workshop.verdicts()["G08"].reason
    assert "forbidden" not in workshop.verdicts()["G12"].reason
    workshop.must_stop("G08")


def test_a_history_that_runs_an_hour_ahead_is_stopped(workshop, patch_model):
    """Departures counted an hour before they happened: nothing tells too much, and nothing was known."""

    def ahead(tables):
        found = flights.events(tables)
        return {**found, "departures": found["departures"].with_columns(pl.col(AT) - timedelta(hours=1))}

    patch_model(events=ahead)
    workshop.change("params.yaml", "train.max_iter", 10)
    workshop.rebuild(split, probes=(leakage,))
    reason = workshop.verdicts()["G08"].reason
    assert "not what was known at the moment of prediction" in reason
    assert "origin_departed_2h" in reason
    assert "origin_scheduled_2h" not in reason
    workshop.must_stop("G08")
