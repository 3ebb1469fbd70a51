"""A misspelt, missing or broken setting is one sentence that says where and what was probably meant."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from contract.errors import ConfigError
from pipelines.building.config import params, policy, section
from pipelines.machine.environments import read_environments
from training.gates.policy import GatePolicy
from training.models.iris import Params
from training.splitting import RandomSplit, TimeSplit

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
PARAMS, POLICY = ROOT / "params.yaml", ROOT / "policy.yaml"


@pytest.fixture
def edited(tmp_path):
    """A copy of params.yaml or policy.yaml in which one text was replaced by another."""

    def edit(path, old, new):
        text = path.read_text("utf-8")
        assert old in text, "the text to be replaced is no longer in the file"
        copy = tmp_path / path.name
        copy.write_text(text.replace(old, new), "utf-8")
        return copy

    return edit


def sentence(read, *arguments):
    """The refusal that reading ends in."""
    with pytest.raises(ConfigError) as refused:
        read(*arguments)
    text = str(refused.value)
    assert "\n" not in text
    return text


def test_the_shipped_parameters_are_typed():
    """Moments, splits and hyperparameters arrive as values, not as dicts."""
    iris, flights = params("iris", PARAMS), params("flights", PARAMS)
    assert isinstance(iris.train, Params)
    assert isinstance(iris.split, RandomSplit)
    assert flights.split == TimeSplit(test_days=14, validation_days=14)
    assert flights.as_of == datetime(2013, 4, 1, tzinfo=UTC)


@pytest.mark.parametrize("model", ["flights", "iris"])
def test_the_shipped_gates_are_typed(model):
    """Every gate of the policy has its thresholds."""
    assert policy(model, "gates", GatePolicy, POLICY).G09.max_difference == 1e-5


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("  seed: 7\n  ingest", "  sead: 7\n  ingest", "unknown key 'sead', did you mean 'seed'?"),
        ("    gamma: scale", "    gama: scale", "iris.train: unknown key 'gama', did you mean 'gamma'?"),
        (
            "    test_share: 0.3",
            "    test_shares: 0.3",
            "unknown key 'test_shares', did you mean 'test_share'?",
        ),
        ("    gamma: scale", "", "iris.train: key 'gamma' is missing"),
        ("    C: 1.0", "    C: much", "iris.train, C: Expected `float`, got `str`"),
        ("    version: 1.9.1", "    version: 1.9", "ingest.version: Expected `str`, got `float`"),
        ("    kind: random", "    kind: rnadom", "split.kind: Invalid value 'rnadom'"),
        ('"2013-01-01T00:00:00Z"', '"2013-01-01T00:00:00"', "has no time zone"),
        ('"2013-01-01T00:00:00Z"', "soon", "as_of: Invalid RFC3339"),
        (
            '"2013-01-01T00:00:00Z"',
            "2013-01-01",
            'is a day without a time; expected a moment in UTC. Write it as "2013-01-01T00:00:00Z"',
        ),
        ("    C: 1.0", "    C: 1.0\n    C: 2.0", "params.yaml: the key 'C' at line"),
        ("\niris:", "\nflights: {}\niris:", "the key 'flights'"),
        ("\niris:", "\nirsi:", "unknown model 'irsi', did you mean 'iris'?"),
        ("\niris:", "\niris: 3\nflowers:", "unknown model 'flowers'"),
        ("\niris:", "\n1: 2\niris:", "has the key 1, a int"),
        ("flights:", "flights: [", "params.yaml is not YAML at line"),
        ("iris:", "\tiris:", "params.yaml is not YAML at line"),
    ],
)
def test_a_wrong_parameter_is_named(edited, old, new, said):
    """Where it stands, what was found, and the near miss."""
    path = edited(PARAMS, old, new)
    assert said in sentence(params, "iris", path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "holds nothing; expected a YAML mapping"),
        (b"- 1\n", "holds a list"),
        (b"iris\n", "holds a str"),
        (b"flights: {}\n", "has no section 'iris'"),
        (b"iris:\n", "params.yaml, iris holds nothing"),
        (b"iris: 3\n", "params.yaml, iris holds a int"),
        (b"iris: {}\n", "is missing"),
        (b"\xff\xfe\x00", "is not UTF-8 at byte 0"),
        (b"iris: \x01\n", "is not YAML"),
    ],
)
def test_a_broken_file_is_one_sentence(tmp_path, content, said):
    """Empty, cut off, of another shape, or not text at all."""
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    assert said in sentence(params, "iris", path)


def test_a_missing_file_says_from_where_to_run(tmp_path):
    """Most likely the wrong folder."""
    text = sentence(params, "iris", tmp_path / "params.yaml")
    assert "cannot be read (No such file or directory)" in text
    assert "Run from the repository's top folder" in text


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("iris:\n  gates:", "iris:\n  gaets:", "unknown key 'gaets', did you mean 'gates'?"),
        ("      min_fall: 0.5", "      min_fal: 0.5", "unknown key 'min_fal', did you mean 'min_fall'?"),
        ("    G09:\n", "    G9:\n", "did you mean 'G09'?"),
        ("    G09:\n", "    G09: {}\n    G09:\n", "policy.yaml: the key 'G09' at line"),
        ("      - metric: accuracy", "      - metrik: accuracy", "did you mean 'metric'?"),
        ("    may_not_apply: [G01, ", "    may_not_apply: [1, ", "Expected `str`, got `int`"),
        ("      over_simple: 0.1", "      over_simple: no", "Expected `float`, got `bool`"),
        ("iris:\n  gates:", "iris:\n  monitoring:", "key 'gates' is missing"),
        # Values that would switch a gate off.
        ("      min_fall: 0.5", "      min_fall: .nan", "gates, G01.min_fall: nan is not finite"),
        ("      min_fall: 0.5", "      min_fall: 0", "G01.min_fall: Expected `float` > 0.0"),
        ("      min_fall: 0.5", "      min_fall: 1.5", "G01.min_fall: Expected `float` <= 1.0"),
        ("      max_gap: 0.1\n", "      max_gap: .inf\n", "gates, G01.max_gap: inf is not finite"),
        ("        min: 0.9", "        min: -.inf", "G03[0].min: -inf is not finite"),
        ("        min: 0.9", "        min: null", "G03[0]: 'accuracy' has neither min nor max"),
        ("        min: 0.9", "        max: 0.5\n        min: 0.9", "has min 0.9 above max 0.5"),
        ("- metric: accuracy", "- metric: ''", "G03[0].metric: Expected `str` of length >= 1"),
        ("over_baseline: 0.3", "over_baseline: -1", "G04.over_baseline: Expected `float` >= 0.0"),
        ("      margin: 0.05", "      margin: -0.05", "G05.margin: Expected `float` >= 0.0"),
        ("      margin: 0.05", "      margin: 50", "G05.margin: Expected `float` <= 1.0"),
        ("min_blocks: 30", "min_blocks: 1", "G05.min_blocks: Expected `int` >= 2"),
        ("      warn_after: 12", "      warn_after: 61", "warn_after 61 is above max_uses 60"),
        ("may_not_apply: [G01, ", "may_not_apply: [G1, ", "the unknown gate 'G1', did you mean 'G"),
    ],
)
def test_a_wrong_policy_is_named(edited, old, new, said):
    """A gate whose threshold was misspelt must never run without it."""
    path = edited(POLICY, old, new)
    assert said in sentence(policy, "iris", "gates", GatePolicy, path)


@pytest.mark.parametrize(
    ("gate", "key", "value", "said"),
    [
        ("G05", "confidence", 0.0, "Expected `float` > 0.5"),
        ("G05", "confidence", 0.5, "Expected `float` > 0.5"),
        ("G05", "confidence", 1.0, "Expected `float` < 1.0"),
        ("G05", "resamples", 1, "Expected `int` >= 100"),
        ("G05", "seed", -1, "Expected `int` >= 0"),
        ("G07", "max_calibration_error", 0.5, "Expected `float` < 0.5"),
        ("G07", "min_slope", 0.0, "Expected `float` > 0.0"),
        ("G07", "max_slope", float("inf"), "inf is not finite"),
        ("G09", "max_difference", float("nan"), "nan is not finite"),
        ("G09", "max_difference", 1.0, "Expected `float` <= 0.01"),
        ("G13", "min_share", 0.5, "Expected `float` > 0.5"),
        ("G13", "tolerance", 1.0, "Expected `float` <= 0.1"),
        ("G13", "rounding", 1.0, "Expected `float` <= 0.01"),
        ("G13", "min_rows", 0, "Expected `int` >= 1"),
        ("G15", "max_twins", 1.0, "Expected `float` < 1.0"),
        ("G15", "max_uses", 0, "Expected `int` >= 1"),
        ("G16", "margin", 1.0, "Expected `float` < 1.0"),
        ("G16", "confidence", 0.5, "Expected `float` > 0.5"),
        ("G16", "min_blocks", 1, "Expected `int` >= 2"),
        ("G12", "forbidden", [""], "Expected `str` of length >= 1"),
    ],
)
def test_a_value_that_would_disarm_a_gate_is_refused(tmp_path, gate, key, value, said):
    """A gate that everything passes is worse than none: it says pass."""
    content = yaml.safe_load(POLICY.read_text("utf-8"))
    content["flights"]["gates"][gate][key] = value
    path = tmp_path / "policy.yaml"
    path.write_text(yaml.safe_dump(content), "utf-8")
    assert f"{gate}.{key}" in (text := sentence(policy, "flights", "gates", GatePolicy, path))
    assert said in text


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("p90_ms: 250", "p90_ms: .inf", "p90_ms: inf is not finite"),
        ("p90_ms: 250", "p90_ms: 0", "p90_ms: Expected `float` > 0.0"),
        ("requests: 50", "requests: 0", "requests: Expected `int` >= 1"),
    ],
)
def test_a_latency_that_everything_keeps_is_refused(edited, old, new, said):
    """The smoke suite measures against a number that means something."""
    path = edited(ROOT / "infra" / "environments.yaml", old, new)
    assert said in sentence(read_environments, path, {})


def test_a_policy_without_any_bound_is_refused(tmp_path):
    """An emptied G03 would have nothing to say."""
    content = yaml.safe_load(POLICY.read_text("utf-8"))
    content["flights"]["gates"]["G03"] = []
    path = tmp_path / "policy.yaml"
    path.write_text(yaml.safe_dump(content), "utf-8")
    assert "G03: Expected `array` of length >= 1" in sentence(policy, "flights", "gates", GatePolicy, path)


def test_an_unknown_model_is_refused_before_any_file_is_read(tmp_path):
    """The near miss is suggested."""
    assert "did you mean 'iris'?" in sentence(params, "irsi", tmp_path / "nowhere.yaml")


def test_a_section_is_what_the_file_says():
    """Hashing and showing want the plain values; where a study looks decides nothing that is built."""
    plain = yaml.safe_load(PARAMS.read_text("utf-8"))["iris"]
    assert "tune" in plain
    assert section("iris", PARAMS) == {key: value for key, value in plain.items() if key != "tune"}


def test_the_time_of_a_moment_in_another_zone_is_turned_into_utc(edited):
    """Midnight in Berlin is eleven in the evening in UTC."""
    path = edited(PARAMS, '"2013-01-01T00:00:00Z"', '"2013-01-01T00:00:00+01:00"')
    assert params("iris", path).as_of.isoformat() == "2012-12-31T23:00:00+00:00"


def test_every_line_of_the_shipped_files_is_read_by_somebody():
    """No model has a section that nothing reads."""
    for path in (PARAMS, POLICY):
        assert re.findall(r"^(\w+):", path.read_text("utf-8"), re.MULTILINE) == ["flights", "iris"]
