"""The model card says what the author wrote and what the run found, and nothing else."""

import dataclasses
import math
import re
from datetime import UTC, datetime

import msgspec
import pytest
import yaml

from contract.bundle import Environment
from tests.training import hub_card
from tests.training.conftest import TOY, TREES
from training import model as models
from training.ablation import Ablation, Gain
from training.card import CardFacts, card, gate_table
from training.diagnostics import Part
from training.gates.verdict import TITLES, Evidence, judge, not_applicable
from training.learning import boosted_trees
from training.model import Card, Model

pytestmark = pytest.mark.unit

SECTIONS = (  # the first six by the Hub's template, in its order
    "Model Details",
    "Uses",
    "Bias, Risks, and Limitations",
    "How to Get Started with the Model",
    "Training Details",
    "Evaluation",
    "Gates",
    "Ablation",
    "Inputs",
    "Provenance",
)
PARTS = (
    "Direct Use",
    "Out-of-Scope Use",
    "Training Data",
    "Training Procedure",
    "Testing Data, Factors & Metrics",
    "Results",
    "Results by Slice",
)
AUTHOR = Card(
    summary="What it is.",
    intended_use="What for.",
    out_of_scope="- Not that.",
    training_data="Where from.",
    limitations="- Its limits.",
    dataset="letters",
    dataset_license="Anybody's.",
    license="mit",
    tags=("letters",),
)
MODEL = Model(
    contract=TOY,
    arrange=dict,
    rows=lambda tables: tables["rows"],
    params=type(TREES),
    fit=boosted_trees,
    simple=lambda *_: None,
    feature_groups={"sizes": ("width", "height"), "letters": ("letter",)},
    card=AUTHOR,
)
EVIDENCE = Evidence(
    (
        judge("G03", "0.7", ">= 0.6", [], "good enough"),
        judge("G04", "0.1", ">= 0.2", ["too close"], ""),
        not_applicable("G05", "no champion"),
    )
)
FACTS = CardFacts(
    environment=Environment(
        python="3.11.9",
        libraries={"numpy": "2.4.6"},
        trained_with={"scikit-learn": "1.9.1"},
        seed=7,
        as_of="2013-04-01T00:00:00+00:00",
        fit_until="2013-03-18T00:00:00+00:00",
        params="a" * 64,
        data="b" * 64,
        held_out="c" * 64,
    ),
    params={"learning_rate": 0.2},
    rows={"train": 1500, "validation": 300, "test": 400},
    test_from=datetime(2013, 3, 18, tzinfo=UTC),
    test_until=datetime(2013, 3, 31, tzinfo=UTC),
    by_day=True,
    metrics={"accuracy": 0.75, "log_loss": 0.5},
    rivals={"simple": {"accuracy": 0.7}, "baseline": {}},
    slices=(Part("all", 400, 0.5, 0.45, 0.55, 0.3, 0.8, 0.02), Part("a", 90, 0.6, 0.4, 0.7)),
    ablation=Ablation(
        "log_loss", 1000, 0.52, 14, {"letters": Gain(-0.001, -0.02, 0.02), "sizes": Gain(0.1, 0.05, 0.2)}
    ),
    evidence=EVIDENCE,
)
TEXT = card(MODEL, FACTS)


def front(text):
    """The YAML above the card."""
    return yaml.safe_load(text.split("---\n")[1])


def section(text, title):
    """What stands below one heading."""
    return re.split(r"^## ", text.split(f"\n## {title}\n")[1], flags=re.MULTILINE)[0]


def part(text, title):
    """What stands below one heading of the second order."""
    return re.split(r"^##", text.split(f"\n### {title}\n")[1], flags=re.MULTILINE)[0]


def test_every_section_is_there_in_order_and_says_something():
    """From what the model is to where it came from."""
    assert tuple(re.findall(r"^## (.+)$", TEXT, re.MULTILINE)) == SECTIONS
    assert all(len(section(TEXT, title).strip()) > 5 for title in SECTIONS)
    assert tuple(re.findall(r"^### (.+)$", TEXT, re.MULTILINE)) == PARTS
    assert all(len(part(TEXT, title).strip()) > 5 for title in PARTS)


def test_the_front_matter_has_the_fields_of_the_hub():
    """Task type, dataset type and name, metric type and value are those that the Hub requires."""
    found = front(TEXT)
    hub_card.check(found)
    assert found["language"] == ["en"]
    assert found["datasets"] == ["letters"]
    assert found["license"] == "mit"
    assert found["library_name"] == "onnx"
    assert found["pipeline_tag"] == "tabular-classification"
    assert {"tabular-classification", "letters"} <= set(found["tags"])
    (index,) = found["model-index"]
    assert index["name"] == "toy"
    (result,) = index["results"]
    assert result["task"]["type"] == "tabular-classification"
    assert (result["dataset"]["type"], result["dataset"]["name"]) == ("letters", "letters")
    assert result["dataset"]["revision"] == "c" * 64
    assert {item["name"]: item["value"] for item in result["metrics"]} == FACTS.metrics
    assert all(isinstance(item["type"], str) for item in result["metrics"])
    assert found["metrics"] == ["accuracy"]  # the Hub knows no log loss


def test_the_authors_words_stand_in_their_sections():
    """Whatever no number can tell."""
    places = {
        "Direct Use": AUTHOR.intended_use,
        "Out-of-Scope Use": AUTHOR.out_of_scope,
        "Training Data": AUTHOR.training_data,
    }
    for title, words in places.items():
        assert words in part(TEXT, title)
    assert AUTHOR.summary in section(TEXT, "Model Details")
    assert AUTHOR.limitations in section(TEXT, "Bias, Risks, and Limitations")
    assert AUTHOR.dataset_license in part(TEXT, "Training Data")
    assert "learning_rate 0.2" in part(TEXT, "Training Procedure")
    assert "400 held-out rows, from 2013-03-18 to 2013-03-31, 2 slices" in part(TEXT, PARTS[4])


def test_the_card_mentions_every_gate_feature_and_metric():
    """Nothing that was judged or used is left out."""
    for verdict in EVIDENCE.verdicts:
        assert f"| {verdict.code} {TITLES[verdict.code]} | {verdict.verdict} |" in section(TEXT, "Gates")
    for feature in TOY.features:
        assert f"| {feature.name} |" in section(TEXT, "Inputs")
    assert "| accuracy | 0.7500 | 0.7000 | - |" in section(TEXT, "Evaluation")
    assert "| log_loss | 0.5000 | - | - |" in section(TEXT, "Evaluation")
    assert "too close" in section(TEXT, "Gates")


def test_slices_and_groups_are_there_with_their_intervals():
    """The group that adds most first, and how many rows all that was measured on."""
    assert "| all | 400 | 0.5000 [0.4500, 0.5500] | 0.3000 | 0.8000 | 0.0200 |" in TEXT
    assert "| a | 90 | 0.6000 [0.4000, 0.7000] | - | - | - |" in TEXT
    found = section(TEXT, "Ablation")
    assert found.index("| sizes | +0.1000 | [+0.0500, +0.2000] |") < found.index(
        "| letters | -0.0010 | [-0.0200, +0.0200] |"
    )
    assert "1,000 training rows" in found
    assert "0.5200" in found


@pytest.mark.parametrize(
    "change",
    [
        {"metrics": {"accuracy": 0.75, "log_loss": 0.51}},
        {"rivals": {"simple": {"accuracy": 0.71}, "baseline": {}}},
        {"params": {"learning_rate": 0.3}},
        {"rows": {"train": 1501, "validation": 300, "test": 400}},
        {"slices": FACTS.slices[:1]},
        {"ablation": Ablation("log_loss", 1000)},
        {"evidence": Evidence(EVIDENCE.verdicts[:1])},
        {"environment": msgspec.structs.replace(FACTS.environment, data="d" * 64)},
        {"test_until": datetime(2013, 3, 30, tzinfo=UTC)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_fact_is_another_card(change):
    """No figure on the card is typed."""
    assert card(MODEL, dataclasses.replace(FACTS, **change)) != TEXT


def test_a_metric_that_broke_is_shown_as_broken():
    """`nan` in the table, and no value in the front matter, which has no word for it."""
    text = card(MODEL, dataclasses.replace(FACTS, metrics={"accuracy": math.nan}))
    assert "| accuracy | nan | 0.7000 | - |" in text
    assert front(text)["model-index"][0]["results"][0]["metrics"] == []


def test_a_model_without_words_says_that_they_are_missing():
    """The sections stay, and name the file to write them in."""
    text = card(dataclasses.replace(MODEL, card=None), FACTS)
    assert tuple(re.findall(r"^## (.+)$", text, re.MULTILINE)) == SECTIONS
    assert "write `card` in training/models/toy.py" in part(text, "Direct Use")
    assert not {"license", "datasets"} & front(text).keys()
    hub_card.check(front(text))


def test_groups_that_must_fare_alike_are_named():
    """With what a reader must know of bias."""
    text = card(dataclasses.replace(MODEL, fair_by=("letter",)), FACTS)
    assert "those of letter" in section(text, "Bias, Risks, and Limitations")


@pytest.mark.parametrize("name", models.names())
def test_the_card_of_every_model_has_the_shape_of_the_hub(name):
    """Whatever its author wrote."""
    hub_card.check(front(card(models.load(name), FACTS)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda found: found.update(licence="mit"), "licence"),
        (lambda found: found.update(license="mine"), "license"),
        (lambda found: found.update(license="other"), "license_name"),
        (lambda found: found.update(language=["english"]), "language"),
        (lambda found: found.update(datasets=["no id"]), "datasets"),
        (lambda found: found.update(tags="one"), "tags"),
        (lambda found: found.update(pipeline_tag="guessing"), "pipeline_tag"),
        (lambda found: found.update(metrics=["log loss"]), "metrics"),
        (lambda found: found["model-index"][0].pop("name"), "name"),
        (lambda found: found["model-index"][0].update(results=[]), "results"),
        (lambda found: result(found)["task"].pop("type"), "type"),
        (lambda found: result(found)["dataset"].pop("name"), "name"),
        (lambda found: result(found)["dataset"].update(rows=3), "rows"),
        (lambda found: result(found)["metrics"][0].pop("value"), "value"),
        (lambda found: result(found)["metrics"][0].update(value="good"), "value"),
        (lambda found: result(found)["metrics"][0].update(value=math.nan), "value"),
    ],
)
def test_front_matter_of_another_shape_is_found_out(change, words):
    """The shape bites: a key of another name, a value of another kind, one that is missing."""
    found = front(TEXT)
    change(found)
    with pytest.raises(msgspec.ValidationError, match=words):
        hub_card.check(found)


def result(found):
    """The one result of the front matter."""
    return found["model-index"][0]["results"][0]


@pytest.mark.parametrize("name", models.names())
def test_every_model_of_the_repository_speaks_for_itself(name):
    """Each text is written; the license is an identifier of the Hub's list."""
    words = models.load(name).card
    assert words is not None
    assert all(getattr(words, item.name) for item in dataclasses.fields(words))
    assert words.license in {"apache-2.0", "mit", "bsd-3-clause", "cc0-1.0", "other"}


def test_a_bar_in_a_text_does_not_break_the_cards_tables():
    """Every row of a Markdown table has as many cells as its head."""
    reason = judge("G03", "a | b", ">= 1", ["either | or\nneither"], "")
    for line in gate_table(Evidence((reason,))).splitlines():
        assert line.replace("\\|", "").count("|") == 6
    (line,) = [line for line in TEXT.splitlines() if line.startswith("| letter |")]
    assert line == "| letter | request | letters | a category \\| of three |  |"
