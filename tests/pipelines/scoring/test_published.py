"""What was scored is published, and looked up by entity (S2)."""

import polars as pl
import pytest

from contract.errors import FlightlineError
from contract.scores import SUFFIX
from pipelines.scoring.batches import Order, score_all
from pipelines.scoring.inputs import find_inputs
from pipelines.scoring.publishing import publish
from serving.scores import Scores
from tests.pipelines.scoring.conftest import rows
from tests.pipelines.scoring.scored import score, silent


def test_published_answers_are_found_by_entity(tmp_path, predictor, source):
    """With the release that gave them; the rest is not there."""
    score(predictor, source, tmp_path / "out")
    made = publish(tmp_path / "out", predictor.contract, tmp_path / "scores", fresh_hours=24)
    assert (made.entities, made.replaced, made.without_id) == (150, 0, 0)
    store = Scores(tmp_path / "scores")
    found = store.find("toy", "flight/101")
    answers = pl.read_parquet(tmp_path / "out" / "deep" / "b.parquet").row(1, named=True)
    assert (found.label, found.digest, found.version) == (answers["label"], predictor.bundle.digest, "7")
    assert found.scores == {name: answers[f"score.{name}"] for name in predictor.contract.classes}
    assert found.fresh_hours == 24
    assert store.find("toy", "flight/999") is None
    assert store.find("other", "flight/101") is None
    store.close()


def test_the_last_answer_about_an_entity_counts(tmp_path, predictor, source):
    """A file that was scored later says the newer thing, whatever its name."""
    score(predictor, source, tmp_path / "out")
    rows(1).with_columns(pl.lit(9.5).alias("width")).write_parquet(source / "0.parquet")
    score(predictor, source, tmp_path / "out")
    made = publish(tmp_path / "out", predictor.contract, tmp_path / "scores")
    assert (made.entities, made.replaced) == (150, 1)
    store = Scores(tmp_path / "scores")
    wanted = pl.read_parquet(tmp_path / "out" / "0.parquet").row(0, named=True)
    assert store.find("toy", "flight/0").scores["low"] == wanted["score.low"]
    store.close()


def test_answers_without_ids_cannot_be_published(tmp_path, predictor, source):
    """The sentence says which option was missing."""
    order = Order(tmp_path / "out", None, "", 1)
    list(score_all(find_inputs(str(source)), order, predictor, silent))
    with pytest.raises(FlightlineError, match="Score with --id COLUMN"):
        publish(tmp_path / "out", predictor.contract, tmp_path / "scores")
    assert not (tmp_path / "scores" / f"toy{SUFFIX}").exists()
