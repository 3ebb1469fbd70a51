"""The stages, each leaving what it declares, the same on every run."""

import hashlib
import json
from pathlib import Path

import polars as pl
import pytest
import yaml

from contract.bundle import FILES, open_bundle
from contract.errors import FlightlineError
from contract.strict import decode_json
from pipelines.building.artifacts import Artifacts, Duration, duration_file, read_tables
from pipelines.train import require_values
from tests.pipelines.stages.conftest import ROOT, STAGES, run_stages, settings_into
from training.models.iris import CONTRACT

MODEL = "iris"


def declared(stage, model):
    """The outputs that dvc.yaml declares for one stage of one model."""
    body = yaml.safe_load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"][stage]["do"]
    entries = [*body.get("outs", ()), *body.get("metrics", ()), *body.get("plots", ())]
    paths = [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries]
    return [path.replace("${item}", model) for path in paths]


def files(folder):
    """Relative path -> bytes of every artifact. Pickles may differ between equal runs and ship nowhere."""
    root = folder / "artifacts"
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.suffix != ".joblib"
    }


def test_dvc_knows_these_stages():
    """The list that the other tests run is the pipeline."""
    assert tuple(yaml.safe_load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"]) == STAGES


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_produces_every_artifact_it_declares(finished, stage):
    """Each file is there and says something; each folder holds something."""
    paths = [finished / path for path in declared(stage, MODEL)]
    assert paths
    for path in paths:
        assert path.exists(), path
        content = [path] if path.is_file() else [item for item in path.rglob("*") if item.is_file()]
        assert content, path
        assert all(item.stat().st_size > 0 for item in content), path


def test_no_stage_leaves_an_artifact_that_nothing_declares(finished):
    """An undeclared file would be neither cached nor removed."""
    wanted = [Path(path) for stage in STAGES for path in declared(stage, MODEL)]
    found = [path.relative_to(finished) for path in (finished / "artifacts").rglob("*") if path.is_file()]
    assert [str(path) for path in found if not any(path.is_relative_to(out) for out in wanted)] == []


def test_a_second_run_elsewhere_gives_equal_bytes(finished, tmp_path):
    """No date, no path and no chance is in any artifact."""
    again = settings_into(tmp_path)
    run_stages(again, *STAGES)
    one, two = files(finished), files(again)
    assert sorted(one) == sorted(two)
    assert [name for name in one if one[name] != two[name]] == []


@pytest.mark.slow
def test_running_a_stage_again_replaces_what_it_left(finished_copy):
    """A file from an earlier run does not mix with this one's."""
    before = files(finished_copy)
    for folder in ("raw", "checked", "rejected", "split", "model", "probes", "report", "bundle"):
        (finished_copy / "artifacts" / MODEL / folder / "stale.parquet").write_bytes(b"stale")
    run_stages(finished_copy, *STAGES)
    assert files(finished_copy) == before


def test_the_bundle_opens_and_says_what_the_run_was(finished):
    """Whole, of this model, with the evidence and the facts of the run."""
    artifacts = Artifacts.of(MODEL, finished / "artifacts")
    bundle = open_bundle(artifacts.bundle)
    facts = json.loads(artifacts.facts.read_bytes())
    assert set(bundle.manifest.files) == set(FILES)
    assert bundle.model == MODEL
    assert bundle.environment.held_out == facts["held_out"]
    assert bundle.environment.seed == 7
    assert (artifacts.bundle / "evidence.json").read_bytes() == artifacts.evidence.read_bytes()


def test_every_flower_is_accounted_for(finished):
    """Sound plus rejected is what was ingested, and the parts are what was sound."""
    artifacts = Artifacts.of(MODEL, finished / "artifacts")
    report = json.loads(artifacts.validation.read_bytes())["flowers"]
    assert report["sound"] + report["rejected"] == read_tables(artifacts.raw)["flowers"].height == 150
    assert sum(json.loads(artifacts.facts.read_bytes())["rows"].values()) == report["sound"]


def test_rejected_rows_are_kept_with_the_reason(finished_copy):
    """A flower of no size is counted, kept apart and explained, and trains nothing."""
    artifacts = Artifacts.of(MODEL)
    path = artifacts.raw / "flowers.parquet"
    pl.read_parquet(path).with_columns(
        pl.when(pl.col("id") == "flower/7").then(-1.0).otherwise("petal_width").alias("petal_width")
    ).write_parquet(path)
    run_stages(finished_copy, "validate", "split")
    rejected = pl.read_parquet(artifacts.rejected / "flowers.parquet")
    assert rejected.select("id", "rejected_because").rows() == [("flower/7", "positive_lengths")]
    rule = json.loads(artifacts.validation.read_bytes())["flowers"]["rules"]["positive_lengths"]
    assert rule == {"caught": 1, "because": "a length that is not positive"}
    assert "flower/7" not in set(pl.concat(read_tables(artifacts.split).values())["id"])


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_says_in_one_line_what_it_did(finished_copy, capsys, stage):
    """Its name, the model, and the numbers."""
    run_stages(finished_copy, stage)
    out = capsys.readouterr().out
    assert out.startswith(f"{stage} iris: ")
    assert out.count("\n") == 1


def test_training_notes_how_long_it_took_for_which_graph(finished_copy):
    """M6; the note is no output of the stage, so that two trainings still have the same ones."""
    artifacts = Artifacts.of(MODEL)
    run_stages(finished_copy, "train")
    found = decode_json(duration_file(MODEL).read_bytes(), Duration, "the note")
    assert found.graph == hashlib.sha256((artifacts.model / "model.onnx").read_bytes()).hexdigest()
    assert 0 < found.seconds < 600


def test_the_bundle_says_what_trained_it_and_not_what_packed_it(finished_copy):
    """Packing again elsewhere does not rewrite which libraries the graph came from."""
    path = Artifacts.of(MODEL).versions
    versions = json.loads(path.read_bytes())
    assert open_bundle(Artifacts.of(MODEL).bundle).environment.trained_with == versions["trained_with"]
    versions["trained_with"]["scikit-learn"] = "0.1"
    path.write_text(json.dumps(versions))
    run_stages(finished_copy, "package")
    assert open_bundle(Artifacts.of(MODEL).bundle).environment.trained_with["scikit-learn"] == "0.1"


def test_another_locked_version_trains_again():
    """The lock file is a dependency of training and drawing, and of no stage that prepares the data."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"]
    locked = [name for name in stages if "uv.lock" in stages[name]["do"]["deps"]]
    assert locked == ["train", "probe", "report"]


@pytest.mark.parametrize("nothing", [None, float("nan")])
def test_a_feature_without_any_value_is_refused_before_training(finished_copy, nothing):
    """One sentence with its name, rather than an error from inside a learner; one value is enough."""
    path = Artifacts.of(MODEL).split / "train.parquet"
    rows = pl.read_parquet(path)
    rows.with_columns(pl.lit(nothing, dtype=pl.Float64).alias("petal_width")).write_parquet(path)
    with pytest.raises(FlightlineError, match="no training row of iris has a value of petal_width"):
        run_stages(finished_copy, "train")
    require_values(
        rows.with_columns(pl.when(pl.int_range(pl.len()) == 0).then(pl.col("petal_width"))), CONTRACT
    )
