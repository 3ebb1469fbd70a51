"""What a group of features adds is found by training without it."""

import dataclasses

import msgspec
import numpy as np
import polars as pl
import pytest

from contract.errors import ConfigError
from contract.schema import Aggregate, Feature
from tests.training.conftest import TOY, TREES
from training import model as models
from training.ablation import ablate, evenly, require_partition, without
from training.learning import boosted_trees
from training.model import Model, grouped
from training.models import flights

pytestmark = pytest.mark.unit

GROUPS = {"letters": ("letter",), "sizes": ("width",), "rest": ("height",)}


def declared(groups, contract=TOY):
    """The small model with these groups of features."""
    return Model(
        contract=contract,
        arrange=dict,
        rows=lambda tables: tables["rows"],
        params=type(TREES),
        fit=boosted_trees,
        simple=lambda *_: None,
        feature_groups=groups,
    )


def ablated(toy, groups=GROUPS, rows=1000, contract=TOY, parts=None):
    """The groups' gains on the small model's rows."""
    train, validation, test = parts or (toy.train, toy.validation, toy.test)
    return ablate(
        declared(groups, contract), train, validation, test, params=TREES, seed=7, rows=rows, by_day=False
    )


def test_what_decides_the_label_adds_most_and_surely(toy):
    """The width has twice the weight of the rest: its interval lies above zero and above the others."""
    found = ablated(toy)
    assert list(found.groups) == list(GROUPS)
    assert found.groups["sizes"].lower > 0
    assert found.groups["sizes"].lower > max(found.groups[name].gain for name in ("letters", "rest"))
    assert (found.metric, found.rows, found.blocks) == ("log_loss", 1000, toy.test.height)


def test_noise_adds_nothing(toy):
    """A feature of dice: the interval of its gain does not lie above zero."""
    contract = msgspec.structs.replace(TOY, features=(*TOY.features, Feature("dice", "number", "noise")))
    parts = [
        part.with_columns(pl.Series("dice", np.random.default_rng(seed).normal(size=part.height)))
        for seed, part in enumerate((toy.train, toy.validation, toy.test))
    ]
    found = ablated(toy, {"real": ("letter", "width", "height"), "dice": ("dice",)}, 1000, contract, parts)
    assert found.groups["dice"].lower <= 0
    assert found.groups["real"].lower > 0


def test_the_same_inputs_give_the_same_gains(toy):
    """To the last bit: the file is an output of a cached stage."""
    assert ablated(toy) == ablated(toy)


def test_a_model_without_groups_is_not_trained_again(toy):
    """There is nothing to leave out, so nothing is fitted."""
    model = dataclasses.replace(declared({}), fit=lambda *_: pytest.fail("it was fitted"))
    found = ablate(model, toy.train, toy.validation, toy.test, params=TREES, seed=7, rows=10, by_day=False)
    assert found.groups == {}


@pytest.mark.parametrize("name", models.names())
def test_every_feature_of_every_model_is_in_one_group(name):
    """Neither forgotten nor counted twice; and leaving a group out leaves something."""
    model = models.load(name)
    assert len(model.feature_groups) >= 2
    require_partition(model)
    for names in model.feature_groups.values():
        assert without(model.contract, names).features


@pytest.mark.parametrize(
    ("groups", "problem"),
    [
        ({"letters": ("letter",), "sizes": ("width",)}, "'height' is in no group"),
        ({**GROUPS, "again": ("width",)}, "'width' is in 2 groups"),
        ({**GROUPS, "again": ("depth",)}, "'depth' is no feature"),
    ],
)
def test_groups_that_do_not_fit_the_contract_are_refused(toy, groups, problem):
    """Forgotten, counted twice, or misspelt: the feature is named."""
    with pytest.raises(ConfigError, match=problem) as refused:
        ablated(toy, groups)
    assert "training/models/toy.py" in refused.value.remedy


@pytest.mark.parametrize(
    ("feature", "group"),
    [
        (Feature("gate", "category", "new"), "categories"),
        (Feature("month", "number", "new"), "schedule"),
        (Feature("engines", "number", "new", "batch"), "plane"),
        (
            Feature(
                "waiting", "number", "new", "stream",
                aggregate=Aggregate("waiting", ("origin",), "count", 120),
            ),
            "state",
        ),
        (
            Feature(
                "rate_7d", "number", "new", "batch",
                aggregate=Aggregate("landings", ("hour",), "mean", 7 * 1440, "late"),
            ),
            "history",
        ),
        (
            Feature(
                "gust", "number", "new", "batch",
                aggregate=Aggregate("weather", ("origin",), "latest", 240, "gust"),
            ),
            "weather",
        ),
    ],
)  # fmt: skip
def test_a_new_feature_of_flights_finds_its_group(feature, group):
    """By how it is declared; nobody keeps a list."""
    contract = msgspec.structs.replace(flights.CONTRACT, features=(*flights.CONTRACT.features, feature))
    assert feature.name in grouped(contract, flights.group)[group]


@pytest.mark.parametrize("count", [2, 7, 399, 400, 1000])
def test_the_sample_is_evenly_spaced_from_first_to_last(toy, count):
    """No month is left out; of fewer rows than wanted all are taken."""
    found = evenly(toy.test, count)
    assert found.height == min(count, 400)
    assert found["id"].is_unique().all()
    assert [found["id"][0], found["id"][-1]] == [toy.test["id"][0], toy.test["id"][-1]]
