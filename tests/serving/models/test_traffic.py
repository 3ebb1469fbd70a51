"""The draw is fair, the same everywhere, and moves as few callers as it can."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.models.traffic import bounds, draw, pick

pytestmark = pytest.mark.unit

IDS = [f"request-{number}" for number in range(20_000)]


def who(split: dict[str, float], default: str, request_id: str) -> str:
    """The version that answers, of versions that are called as in the split."""
    names = {name: name for name in {*split, default}}
    return pick(draw("split/toy", request_id), bounds(split, default, names), default)


@st.composite
def splits(draw_from) -> dict[str, float]:
    """Shares of one to five versions that sum to 100."""
    weights = draw_from(st.lists(st.integers(0, 1000), min_size=1, max_size=5).filter(any))
    return {f"v{number}": 100 * weight / sum(weights) for number, weight in enumerate(weights)}


@given(splits(), st.text(max_size=130), st.integers(0, 4))
def test_every_request_has_an_answer_that_has_a_share(split, request_id, default) -> None:
    """Whatever the id and the shares: somebody answers, and nobody without a share."""
    chosen = who(split, f"v{default % len(split)}", request_id)
    assert split[chosen] > 0


@given(st.text(max_size=300), st.text(max_size=200))
def test_a_draw_lies_in_the_interval(salt, request_id) -> None:
    """From 0 to below 100, for salts of any length."""
    assert 0 <= draw(salt, request_id) < 100


@pytest.mark.parametrize("share", [1, 10, 50])
def test_shares_are_what_was_asked_for(share) -> None:
    """Of ids that count up, too. Five standard deviations of 20,000 draws: by chance, once in two million."""
    got = sum(who({"new": share, "old": 100 - share}, "old", one) == "new" for one in IDS)
    expected = len(IDS) * share / 100
    assert abs(got - expected) < 5 * (expected * (1 - share / 100)) ** 0.5


@given(st.floats(0.5, 49), st.floats(1, 50), st.sampled_from(IDS))
def test_a_growing_canary_keeps_its_callers(small, more, request_id) -> None:
    """Who was answered by the canary is answered by it when its share has grown."""
    if who({"z": small, "a": 100 - small}, "a", request_id) == "z":
        large = small + more
        assert who({"z": large, "a": 100 - large}, "a", request_id) == "z"


def test_another_salt_draws_by_itself() -> None:
    """Who is mirrored has nothing to do with who goes to the canary."""
    canary = [one for one in IDS if draw("split/toy", one) < 50]
    both = sum(draw("mirror/toy/2", one) < 50 for one in canary)
    assert abs(both - len(canary) / 2) < 5 * (len(canary) / 4) ** 0.5


def test_another_process_draws_alike() -> None:
    """Workers agree: the draw is no hash that Python seeds anew in each process."""
    code = "from serving.models.traffic import draw; print(draw('split/toy', 'a'))"
    for seed in ("1", "2"):
        found = subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert float(found.stdout) == draw("split/toy", "a")


def test_a_version_that_cannot_be_served_leaves_its_share_to_the_default() -> None:
    """A refused canary loses no request."""
    intervals = bounds({"1": 90, "2": 10}, "1", {"1": "one"})
    assert {pick(draw("split/toy", one), intervals, "one") for one in IDS[:200]} == {"one"}
