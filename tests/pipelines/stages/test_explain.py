"""A row of the small model, or a request, raw to answer."""

import json
from pathlib import Path

import polars as pl
import pytest

from contract.errors import FlightlineError
from contract.schema import Contract, Feature
from pipelines import explain as command
from pipelines.explain import explain
from pipelines.explaining.row import drawn
from pipelines.explaining.show import without_sums
from training.explaining import Step, steps, trees
from training.export import to_onnx
from training.learning import BoostedTrees, boosted_trees
from training.model import LABEL


@pytest.mark.usefixtures("finished_copy")
def test_a_row_of_the_small_model_has_decision_values():
    """No trees, no past: facts, steps and the decision value of each species."""
    name = drawn(command.Artifacts.of("iris"), 1)
    found = explain("iris", name)
    assert found.trees is None
    assert found.subject.windows == ()
    assert found.kind == "decision"
    assert found.answer == max(found.scores, key=found.scores.get)
    assert found.about == found.answer
    assert found.fitted_difference < 1e-5
    assert {effect.feature for effect in found.effects} == {line.name for line in found.features}
    assert Path("artifacts/iris/bundle").is_dir()


@pytest.mark.usefixtures("finished_copy")
def test_a_request_is_explained_as_a_server_would_take_it():
    """The same contract decides; a held-out row sent as a request has the same scores."""
    name = drawn(command.Artifacts.of("iris"), 2)
    known = explain("iris", name)
    row = {line.name: line.value for line in known.features}
    Path("request.json").write_text(json.dumps({"row": row}))
    found = explain("iris", "request.json")
    assert found.scores == known.scores
    assert found.subject.outcome is None
    Path("request.json").write_text(json.dumps({"row": {**row, "petal_length": "long"}}))
    with pytest.raises(FlightlineError, match=r"request\.json, row\.petal_length"):
        explain("iris", "request.json")
    with pytest.raises(FlightlineError, match="is no file"):
        explain("iris", "absent.json")


@pytest.mark.usefixtures("finished_copy")
def test_a_value_out_of_range_is_said():
    """The contract accepts and counts it, and the walk says so."""
    row = {"sepal_length": 99.0, "sepal_width": 3.0, "petal_length": 4.0, "petal_width": 1.0}
    Path("request.json").write_text(json.dumps(row))
    found = explain("iris", "request.json")
    assert found.features[0].check == "outside [4.3, 7.9]: accept_and_count"
    assert found.features[1].check == "in [2.0, 4.4]"


@pytest.mark.usefixtures("finished_copy")
def test_the_command_prints_tables_or_json(capsys):
    """Eight headings without trees and windows are fewer; JSON is one document."""
    assert command.main(["iris", "--random", "1"]) == 0
    screen = capsys.readouterr().out
    headings = (
        "Facts of the row",
        "Features",
        "inputs",
        "steps",
        "No sums",
        "Answer",
        "Occlusion",
        "outcome",
    )
    for words in headings:
        assert words in screen
    assert command.main(["iris", "--random", "1", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert set(answer["scores"]) == {"setosa", "versicolor", "virginica"}
    assert answer["row"]["id"].startswith("flower/")


@pytest.mark.unit
@pytest.mark.parametrize(
    ("classes", "said"),
    [(2, None), (3, "the trees add up to one score a class, and only a single score is walked")],
)
def test_trees_of_several_classes_are_said_not_to_be_walked(classes, said):
    """Real graphs of boosted trees for two and for three classes; no trees at all is another sentence."""
    rows = pl.DataFrame({"a": [float(number) for number in range(120)]})
    rows = rows.with_columns((pl.col("a") // (120 / classes)).cast(pl.Int64).alias(LABEL))
    contract = Contract(
        model="toy",
        target="x",
        classes=("one", "two", "three")[:classes],
        scores="probability",
        features=(Feature("a", "number", "a"),),
    )
    fitted = boosted_trees(contract, rows, rows, BoostedTrees(0.1, 4, 5, 0.0, 5, 5), 0)
    graph = to_onnx(fitted.pipeline, contract)
    walked = trees(graph, contract, rows[:1])
    assert (walked is None) == (said is not None)
    if said is not None:
        assert said in without_sums(steps(graph, contract, rows[:1]))
    assert "has no trees" in without_sums([Step("SVMClassifier", "label", (0,))])


def test_a_row_or_a_seed_is_needed(capsys):
    """Usage, exit code 2."""
    with pytest.raises(SystemExit) as ended:
        command.main(["iris"])
    assert ended.value.code == 2
    assert "row" in capsys.readouterr().err
