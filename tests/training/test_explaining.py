"""The walk through a graph ends where the graph ends."""

import numpy as np
import polars as pl
import pytest

from contract.schema import Contract, Feature
from training.explaining import occlusion, steps, trees, typical
from training.export import run, to_onnx
from training.learning import BoostedTrees, boosted_trees, support_vectors
from training.model import columns

CONTRACT = Contract(
    model="toy",
    target="x",
    classes=("no", "yes"),
    scores="probability",
    features=(
        Feature("a", "number", "a", nullable=True),
        Feature("b", "number", "b"),
        Feature("letter", "category", "one of three"),
    ),
)


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    """Rows with missing numbers and three letters; the label follows all three features."""
    rng = np.random.default_rng(3)
    a, b, letter = rng.normal(size=600), rng.normal(size=600), rng.integers(0, 3, 600)
    label = (a + b + letter + rng.normal(size=600) > 1).astype(np.int64)
    return pl.DataFrame(
        {
            "a": [None if index % 7 == 0 else value for index, value in enumerate(a)],
            "b": b,
            "letter": [("x", "y", "z")[index] for index in letter],
            "label": label,
        }
    )


@pytest.fixture(scope="module")
def fitted(rows):
    """Forty small trees."""
    return boosted_trees(CONTRACT, rows, rows, BoostedTrees(0.1, 8, 5, 0.0, 40, 40), 0).pipeline


@pytest.fixture(scope="module")
def graph(fitted) -> bytes:
    """The trees as a graph."""
    return to_onnx(fitted, CONTRACT)


def odd_rows(rows: pl.DataFrame) -> pl.DataFrame:
    """Some rows, one without numbers, and one with a letter that training never saw."""
    strange = rows[:2].with_columns(pl.Series("a", [None, 9.0]), pl.Series("letter", ["?", "x"]))
    return pl.concat([rows[::37], strange])


def test_leaves_sum_to_the_logit_and_its_logistic_is_the_score(rows, graph):
    """Of each row, missing values and unknown letters included, within float32."""
    some = odd_rows(rows)
    _, scores = run(graph, CONTRACT, some)
    for index in range(some.height):
        found = trees(graph, CONTRACT, some[index])
        assert found.raw == pytest.approx(found.base + sum(found.leaves), abs=1e-12)
        assert found.score == pytest.approx(1 / (1 + np.exp(-found.raw)), abs=1e-12)
        assert found.score == pytest.approx(float(scores[index, 1]), abs=1e-6)


def test_each_tree_is_the_one_that_was_fitted(rows, fitted, graph):
    """Leaf by leaf, as scikit-learn's own staged scores have them."""
    row = odd_rows(rows)[3]
    found = trees(graph, CONTRACT, row)
    x = fitted.named_steps["prepare"].transform(columns(row, CONTRACT))
    learner = fitted.named_steps["trees"]
    staged = [float(stage[0]) for stage in learner.staged_decision_function(x)]
    mine = np.diff([float(learner._baseline_prediction.ravel()[0]), *staged])
    assert found.leaves == pytest.approx(mine, abs=1e-7)
    assert found.base == pytest.approx(float(learner._baseline_prediction.ravel()[0]), abs=1e-6)


def test_a_walk_into_another_leaf_would_be_seen(rows, graph, monkeypatch):
    """Turn one comparison round, and the sum no longer gives the graph's score."""
    from training import explaining

    monkeypatch.setitem(explaining.COMPARE, "BRANCH_LEQ", np.greater)
    _, scores = run(graph, CONTRACT, rows[:1])
    assert abs(trees(graph, CONTRACT, rows[:1]).score - float(scores[0, 1])) > 1e-3


def test_the_last_step_is_the_answer(rows, graph):
    """The intermediate tensors are those of the graph: letters become codes, the scores are its own."""
    found = {step.output: step.values for step in steps(graph, CONTRACT, rows[5])}
    label, scores = run(graph, CONTRACT, rows[5])
    assert found["scores"] == pytest.approx(tuple(scores[0].tolist()), abs=0)
    assert found["label"] == (label[0],)
    code = ("x", "y", "z").index(rows["letter"][5])
    assert any(values == (code,) for values in found.values())


def test_a_graph_without_trees_has_steps_and_no_trees(rows):
    """Support vectors: decision values come out of the steps."""
    contract = Contract(
        model="toy", target="x", classes=("no", "yes"), scores="decision", features=CONTRACT.features[1:2]
    )
    graph = to_onnx(support_vectors(contract, rows, 1.0, 0.5, 0).pipeline, contract)
    assert trees(graph, contract, rows[:1]) is None
    assert steps(graph, contract, rows[:1])[-1].values == pytest.approx(
        tuple(run(graph, contract, rows[:1])[1][0].tolist())
    )


def test_occlusion_is_the_change_of_the_score(rows, graph):
    """Each effect is what the graph itself says of the changed row; largest first."""
    replace = typical(rows, CONTRACT)
    effects = occlusion(graph, CONTRACT, rows[1], replace, 1)
    base = float(run(graph, CONTRACT, rows[1])[1][0, 1])
    assert {effect.feature for effect in effects} == {"a", "b", "letter"}
    for effect in effects:
        changed = rows[1].with_columns(pl.lit(replace[effect.feature]).alias(effect.feature))
        expected = float(run(graph, CONTRACT, changed)[1][0, 1]) - base
        assert effect.change == pytest.approx(expected, abs=1e-9)
    sizes = [abs(effect.change) for effect in effects]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 0


def test_typical_values_are_medians_and_modes():
    """Missing values do not count; of equally frequent categories the first by name."""
    table = pl.DataFrame({"a": [1.0, None, 9.0, 2.0], "b": [4.0] * 4, "letter": ["z", "x", "z", "x"]})
    assert typical(table, CONTRACT) == {"a": 2.0, "b": 4.0, "letter": "x"}
