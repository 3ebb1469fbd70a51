"""What staging asks of a version is in policy.yaml, and is read strictly."""

from pathlib import Path

import pytest

from contract.errors import ConfigError
from pipelines.building.config import POLICY, policy, read_yaml
from pipelines.staging.policy import UNDECLARED, StagingPolicy, staging_policy
from training import model as models

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("name", models.names())
def test_every_model_has_a_policy_that_gates(name: str) -> None:
    """No error is allowed, and both ratios are limits that a broken version exceeds."""
    found = staging_policy(name)
    assert found.load.max_errors == 0
    assert 0.01 <= found.load.min_throughput < 1
    assert 1 < found.load.max_p99 <= 100
    assert found.verification.rows >= 150


def test_a_model_of_elsewhere_has_the_weakest_one() -> None:
    """It is still not allowed a single error."""
    assert staging_policy("elsewhere") == UNDECLARED
    assert UNDECLARED.load.max_errors == 0


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("min_throughput:", "min_thruput:", "did you mean 'min_throughput'"),
        ("      seconds: 0.5", "      seconds: 0", "seconds"),
        ("      seconds: 0.5", "      seconds: 3600", "seconds"),
        ("      max_errors: 0\n", "", "max_errors"),
        ("      max_errors: 0\n", "      max_errors: 1\n", "max_errors"),
        ("      min_throughput: 0.05", "      min_throughput: 0", "min_throughput"),
        ("    verification:", "    verifications:", "did you mean 'verification'"),
        ("  staging:", "  stagin:", "did you mean 'staging'"),
    ],
)
def test_what_it_does_not_understand_is_refused(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    """By the name of the key, with the near miss; a threshold that gates nothing is refused, too."""
    head, iris = POLICY.read_text("utf-8").split("\niris:\n")
    assert old in iris
    path = tmp_path / "policy.yaml"
    path.write_text(f"{head}\niris:\n{iris.replace(old, new, 1)}", "utf-8")
    assert read_yaml(path)
    with pytest.raises(ConfigError, match=sentence):
        policy("iris", "staging", StagingPolicy, path)
