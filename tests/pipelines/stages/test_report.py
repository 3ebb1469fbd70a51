"""What a person looks at after a training run is what the run found (C11)."""

import contextlib
import io
import json
import re

import polars as pl
import pytest
import yaml

from pipelines.building.artifacts import Artifacts
from tests.pipelines.stages.conftest import ROOT, run_stages

MODEL = "iris"
BOTH = {"loss", "reliability", "roc", "precision_recall", "slices", "feature_groups", "comparison"}


@pytest.fixture
def run(finished):
    """The artifacts of the finished run."""
    return Artifacts.of(MODEL, finished / "artifacts")


def test_each_thing_to_look_at_is_a_picture_and_data(run):
    """The gates' data are `evidence.json` beside it."""
    names = {path.name for path in run.report.iterdir()}
    assert names == {f"{name}.{kind}" for name in BOTH for kind in ("png", "json")} | {"gates.png"}
    for path in run.report.glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")


def test_dvc_draws_the_columns_that_the_data_have(run):
    """A plot of dvc.yaml whose x or y is misspelt would be empty."""
    plots = yaml.safe_load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"]["report"]["do"]["plots"]
    drawn = 0
    for path, how in (next(iter(plot.items())) for plot in plots if isinstance(plot, dict)):
        rows = json.loads((run.root.parents[1] / path.replace("${item}", MODEL)).read_bytes())
        drawn += bool(rows)
        assert all({how["x"], how["y"]} <= set(row) for row in rows)
    assert drawn >= 5  # a support vector machine has neither iterations nor probabilities


def test_the_cards_numbers_are_those_of_the_metrics(run):
    """In the front matter to the last digit, in the table to four."""
    text = (run.bundle / "model_card.md").read_text("utf-8")
    metrics = json.loads(run.metrics.read_bytes())
    front = yaml.safe_load(text.split("---\n")[1])
    (result,) = front["model-index"][0]["results"]
    assert {item["name"]: item["value"] for item in result["metrics"]} == metrics
    for name, value in metrics.items():
        assert f"| {name} | {value:.4f} |" in text


def test_another_metric_changes_the_card(finished_copy):
    """The card is written from the file, not beside it."""
    run = Artifacts.of(MODEL)
    before = (run.bundle / "model_card.md").read_text("utf-8")
    metrics = json.loads(run.metrics.read_bytes())
    run.metrics.write_text(json.dumps({**metrics, "accuracy": 0.8125}))
    run_stages(finished_copy, "package")
    after = (run.bundle / "model_card.md").read_text("utf-8")
    assert "| accuracy | 0.8125 |" in after
    assert "0.8125" not in before


def test_the_cards_example_gives_the_golden_answer(run, monkeypatch):
    """Whoever copies it gets what training saw."""
    bundle = run.bundle
    code = re.search(r"```python\n(.*?)```", (bundle / "model_card.md").read_text("utf-8"), re.DOTALL)
    golden = json.loads((bundle / "golden.json").read_bytes())["rows"][0]
    monkeypatch.chdir(bundle)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(code[1], {})  # noqa: S102 - the example is what is tested
    assert said.getvalue().startswith(golden["label"])


def test_without_petals_iris_is_not_told_apart(run):
    """What is known of iris is what the ablation finds, by rows of which each is a block."""
    found = json.loads(run.ablation.read_bytes())
    assert (found["metric"], found["rows"], found["blocks"]) == ("error_rate", 90, 45)
    assert set(found["groups"]) == {"sepal", "petal"}
    assert found["groups"]["petal"]["lower"] > 0 >= found["groups"]["sepal"]["lower"]


@pytest.mark.slow
def test_fewer_rows_cost_less_and_are_said(finished_copy):
    """The parameter is the one that counts, and the card tells it."""
    path = finished_copy / "params.yaml"
    everything = yaml.safe_load(path.read_text("utf-8"))
    everything[MODEL]["ablate"]["rows"] = 40
    path.write_text(yaml.safe_dump(everything), "utf-8")
    run_stages(finished_copy, "probe", "report", "package")
    run = Artifacts.of(MODEL)
    assert json.loads(run.ablation.read_bytes())["rows"] == 40
    assert "the same 40 training rows" in (run.bundle / "model_card.md").read_text("utf-8")


def test_the_report_shows_what_the_graph_answered(finished_copy):
    """Labels that contradict every answer turn the curves over."""
    run = Artifacts.of(MODEL)
    path = run.predictions
    scores = [name for name in pl.read_parquet_schema(path) if name.startswith("score.")]
    pl.read_parquet(path).with_columns(-pl.col(name) for name in scores).write_parquet(path)
    run_stages(finished_copy, "report")
    points = json.loads((run.report / "roc.json").read_bytes())
    middle = [point for point in points if 0.2 < point["false_positive_rate"] < 0.8]
    assert middle
    assert all(point["true_positive_rate"] < 0.1 for point in middle if point["name"] == "setosa")
