"""The `rollout:` section of policy.yaml refuses what cannot be meant."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from contract.errors import ConfigError
from contract.strict import convert
from pipelines.delivery.rollout_policy import Rollout, read_rollout
from pipelines.machine.settings import ROOT
from tests.pipelines.delivery.conftest import settings_in
from training.model import names

pytestmark = pytest.mark.unit

SECTION = yaml.safe_load((ROOT / "policy.yaml").read_text())["flights"]["rollout"]


def test_every_model_says_how_it_is_rolled_out(tmp_path: Path) -> None:
    """Read as a deployment reads it; each has a shadow, a canary that grows, and limits."""
    for model in names():
        found = read_rollout(model, settings_in(tmp_path))
        assert found.canary[-1].percent > found.canary[0].percent
        assert found.disagreement < 0.5


def steps(*percents: float) -> list[dict[str, float]]:
    """Canary steps."""
    return [{"percent": percent, "requests": 10, "longest_s": 9} for percent in percents]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda it: it.update(disagreemnt=0.1), "unknown key 'disagreemnt', did you mean 'disagreement'"),
        (lambda it: it.pop("failed"), "'failed' is missing"),
        (lambda it: it["shadow"].update(precent=3), "unknown key 'precent', did you mean 'percent'"),
        (lambda it: it["shadow"].update(percent=0), "Expected `float` > 0"),
        (lambda it: it["shadow"].update(requests=0), "Expected `int` >= 1"),
        (lambda it: it["shadow"].update(least_s=60), "least_s 60 is not below longest_s 60"),
        (lambda it: it.update(canary=[]), "length >= 1"),
        (lambda it: it.update(canary=steps(50, 10)), "do not grow"),
        (lambda it: it.update(canary=steps(10, 10)), "do not grow"),
        (lambda it: it.update(canary=steps(10, 100)), "do not grow towards 100"),
        (lambda it: it.update(disagreement=1), "Expected `float` < 1"),
        (lambda it: it.update(failed=0.5), "Expected `float` <= 0.1"),
        (lambda it: it.update(p99_ratio=0.9), "Expected `float` >= 1"),
        (lambda it: it.update(p99_floor_ms=float("nan")), "nan is not finite"),
    ],
)
def test_what_cannot_be_meant_is_refused(change: Callable[[dict[str, Any]], object], words: str) -> None:
    """With the key, and what was expected."""
    section = yaml.safe_load(yaml.safe_dump(SECTION))
    change(section)
    with pytest.raises(ConfigError, match=words):
        convert(section, Rollout, "policy.yaml, flights.rollout")
