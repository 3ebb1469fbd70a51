"""A stage that cannot run says why in one sentence, and leaves nothing half done."""

import shutil
from importlib import import_module, metadata
from pathlib import Path

import pytest
import yaml

from contract.errors import ConfigError, FlightlineError
from pipelines.building.artifacts import Artifacts
from tests.pipelines.stages.conftest import STAGES

NEEDS = {
    "validate": ["raw"],
    "split": ["checked"],
    "train": ["split/train.parquet", "split/validation.parquet"],
    "evaluate": [
        "model/model.onnx",
        "model/fitted.joblib",
        "model/simple.joblib",
        "split/test.parquet",
        "split/train.parquet",
    ],
    "probe": [
        "model/model.onnx",
        "split/train.parquet",
        "split/validation.parquet",
        "split/test.parquet",
        "split.json",
    ],
    "gate": [
        "curve.json",
        "metrics.json",
        "rivals.json",
        "predictions.parquet",
        "near.parquet",
        "leakage.json",
        "probes/handful.json",
        "probes/again.json",
        "model/model.onnx",
    ],
    "report": ["ablation.json", "curve.json", "evidence.json", "predictions.parquet", "rivals.json"],
    "package": [
        "ablation.json",
        "report/slices.json",
        "split.json",
        "evidence.json",
        "model/model.onnx",
        "split/test.parquet",
        "metrics.json",
    ],
}


def edit(old, new):
    """Replace a text in params.yaml of the current folder."""
    path = Path("params.yaml")
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


@pytest.mark.parametrize(
    ("stage", "missing"), [(stage, item) for stage, items in NEEDS.items() for item in items]
)
def test_a_missing_input_is_named_with_what_makes_it(finished_copy, stage, missing):
    """The path, and the command that builds it."""
    path = finished_copy / "artifacts" / "iris" / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(FlightlineError, match="make repro") as refused:
        import_module(f"pipelines.{stage}").main(["iris"])
    assert str(Artifacts.of("iris").root / missing) in refused.value.found


def test_a_missing_input_ends_the_command_with_one_line_and_code_one(place, command):
    """No traceback, nothing on standard output, and no half-made folder."""
    done = command(place, "train", "iris")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: artifacts/iris/split/train.parquet is missing; expected")
    assert "make repro" in done.stderr
    assert not (place / "artifacts").exists()


def test_an_unknown_model_ends_the_command_with_the_near_miss(place, command):
    """The likely meaning is in the sentence."""
    done = command(place, "ingest", "irsi")
    assert (done.returncode, done.stdout) == (1, "")
    assert "did you mean 'iris'?" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_without_a_model_shows_an_example(capsys, stage):
    """Usage errors have a code of their own."""
    with pytest.raises(SystemExit) as ended:
        import_module(f"pipelines.{stage}").main([])
    assert ended.value.code == 2
    assert f"python -m pipelines.{stage}" in capsys.readouterr().err


def test_another_installed_version_of_the_data_is_refused(place):
    """The parameters pin the data; what is installed must be that."""
    edit("version: 1.9.1", "version: 1.8.0")
    installed = metadata.version("scikit-learn")
    with pytest.raises(
        ConfigError, match=f"scikit-learn is installed as {installed}; expected version 1.8.0"
    ):
        import_module("pipelines.ingest").main(["iris"])
    assert not (place / "artifacts").exists()


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("distribution: scikit-learn", "distribution: no-such-thing", "no-such-thing is not installed"),
        ("data/iris.csv", "data/lilies.csv", "holds no sklearn/datasets/data/lilies.csv"),
    ],
)
def test_data_that_is_not_there_is_refused(old, new, said):
    """A distribution or a file that does not exist."""
    edit(old, new)
    with pytest.raises(ConfigError, match=said):
        import_module("pipelines.ingest").main(["iris"])


def test_a_moment_before_any_data_is_refused_before_anything_is_written(place):
    """No flight of 2013 was known in 2012."""
    edit("2013-04-01T00:00:00Z", "2012-06-01T00:00:00Z")
    with pytest.raises(ConfigError, match=r"no row of .*schedule.* was known by 2012-06-01"):
        import_module("pipelines.ingest").main(["flights"])
    assert not (place / "artifacts").exists()


@pytest.mark.usefixtures("finished_copy")
def test_a_moment_before_publication_leaves_nothing_to_split():
    """The flowers were published in 1936."""
    edit("2013-01-01T00:00:00Z", "1930-01-01T00:00:00Z")
    with pytest.raises(ConfigError, match="the train part is empty as of 1930-01-01"):
        import_module("pipelines.split").main(["iris"])


def test_a_file_of_another_shape_is_refused_by_name(finished_copy):
    """Something else at the place of an artifact is not believed."""
    (finished_copy / "artifacts/iris/metrics.json").write_text('{"accuracy": "high"}')
    with pytest.raises(ConfigError, match=r"metrics\.json"):
        import_module("pipelines.gate").main(["iris"])


def test_a_failing_gate_is_written_down_and_stops_nothing_yet(finished_copy, capsys):
    """The cached stage records the verdict; the decision is taken where the world is asked."""
    policy = yaml.safe_load(Path("policy.yaml").read_text("utf-8"))
    policy["iris"]["gates"]["G03"] = [{"metric": "accuracy", "min": 1.1}]
    Path("policy.yaml").write_text(yaml.safe_dump(policy), "utf-8")
    assert import_module("pipelines.gate").main(["iris"]) == 0
    assert "G03 fail" in capsys.readouterr().out
    assert b'"verdict": "fail"' in (finished_copy / "artifacts/iris/evidence.json").read_bytes()
