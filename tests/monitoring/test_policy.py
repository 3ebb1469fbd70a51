"""The `monitoring:` section refuses what cannot be meant."""

import copy

import msgspec
import pytest

from contract.errors import ConfigError
from contract.strict import convert
from monitoring.policy import MonitoringPolicy
from tests.monitoring.worlds import DRIFT, HEALTH, PERFORMANCE, RETRAIN

pytestmark = pytest.mark.unit

SECTION = msgspec.to_builtins(
    MonitoringPolicy(health=HEALTH, drift=DRIFT, performance=PERFORMANCE, retrain=RETRAIN)
)


def changed(part: str, key: str, value: object) -> dict:
    """The section with one value changed."""
    section = copy.deepcopy(SECTION)
    section[part][key] = value
    return section


def test_a_section_survives_plain_values():
    """What YAML gives is what the structs say."""
    assert convert(SECTION, MonitoringPolicy, "policy.yaml").drift == DRIFT


@pytest.mark.parametrize(
    ("part", "key", "value", "sentence"),
    [
        ("drift", "drifted_shares", 0.3, "unknown key 'drifted_shares', did you mean 'drifted_share'?"),
        ("drift", "drifted_share", 1.5, "Expected `float` <= 1.0"),
        ("drift", "psi", 0, "Expected `float` > 0.0"),
        ("health", "min_rows", 0, "Expected `int` >= 1"),
        ("performance", "confidence", 1.0, "Expected `float` < 1.0"),
        ("retrain", "cooldown_days", -1, "Expected `float` >= 0.0"),
        ("retrain", "weekly_budget", "three", "Expected `int`, got `str`"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused_by_name(part, key, value, sentence):
    """The sentence names the file, the part and what is expected."""
    with pytest.raises(ConfigError) as refusal:
        convert(changed(part, key, value), MonitoringPolicy, "policy.yaml")
    assert sentence in str(refusal.value)
    assert f"policy.yaml, {part}" in str(refusal.value)
