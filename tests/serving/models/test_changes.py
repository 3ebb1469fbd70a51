"""Every change gives a state that can be served, or is refused in words, and asks for what it must."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import ConfigError, FlightlineError
from serving.models import changes
from serving.models.changes import EMPTY, InUseError, NotThereError
from serving.models.desired import Desired, read_desired, write_desired

pytestmark = pytest.mark.unit


def loaded(*versions: str) -> Desired:
    """The model `toy` with these versions; the first is the default."""
    state = EMPTY
    for version in versions:
        state = changes.load(state, "toy", version, f"/releases/{version}", version * 64)
    return state


def test_the_first_version_is_the_default_and_a_later_one_answers_nobody() -> None:
    """Loading is not releasing."""
    model = loaded("1", "2").models["toy"]
    assert (model.default, model.routed(), sorted(model.versions)) == ("1", {"1"}, ["1", "2"])


def test_the_first_model_is_the_default_model() -> None:
    """A second one does not take its place."""
    state = changes.load(loaded("1"), "other", "1", "/r", "a" * 64)
    assert state.default == "toy"


def test_loading_again_changes_nothing_but_another_bundle_needs_another_name() -> None:
    """A name never means two bundles."""
    state = loaded("1")
    assert changes.load(state, "toy", "1", "/releases/1", "1" * 64) == state
    with pytest.raises(InUseError, match="version 1 of toy is the bundle 111111111111"):
        changes.load(state, "toy", "1", "/releases/1", "2" * 64)


def test_a_new_default_ends_the_split_and_is_a_shadow_no_more() -> None:
    """After it one version answers everything."""
    state = changes.set_mirror(loaded("1", "2", "3"), "toy", {"2": 100, "3": 5})
    model = changes.make_default(state, "toy", "2").models["toy"]
    assert (model.default, model.split, model.mirror) == ("2", {}, {"3": 5})


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        pytest.param(lambda s: s, set(), id="nothing"),
        pytest.param(lambda s: changes.load(s, "toy", "4", "/r", "4" * 64), {"4"}, id="load"),
        pytest.param(lambda s: changes.load(s, "other", "1", "/r", "1" * 64), set(), id="other-model"),
        pytest.param(lambda s: changes.unload(s, "toy", "0"), set(), id="unload"),
        pytest.param(lambda s: changes.make_default(s, "toy", "2"), {"2"}, id="default"),
        pytest.param(lambda s: changes.set_split(s, "toy", {"1": 90, "2": 10}), {"1", "2"}, id="split"),
        pytest.param(lambda s: changes.set_split(s, "toy", {}), {"1"}, id="no-split"),
        pytest.param(lambda s: changes.set_mirror(s, "toy", {"2": 5, "3": 100}), {"1", "2"}, id="mirror"),
        pytest.param(lambda s: changes.set_mirror(s, "toy", {}), {"1"}, id="no-mirror"),
    ],
)
def test_a_change_asks_for_what_it_loads_and_whom_it_gives_requests(change, wanted) -> None:
    """Of the default 1, the canary 2, the shadow 3 and the idle 0 for those whose part it changes."""
    state = changes.set_split(loaded("1", "2", "3", "0"), "toy", {"1": 95, "2": 5})
    before = changes.set_mirror(state, "toy", {"3": 100})
    assert changes.asked(before, change(before), "toy") == wanted


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        pytest.param(lambda s: s, "is the default", id="default"),
        pytest.param(lambda s: changes.set_split(s, "toy", {"1": 10, "2": 90}), "in the split", id="split"),
        pytest.param(lambda s: changes.set_mirror(s, "toy", {"2": 1}), "mirrored to", id="mirror"),
    ],
)
def test_a_version_in_use_is_not_unloaded(prepare, words) -> None:
    """What answers, for callers or as a shadow, stays."""
    state = prepare(loaded("1", "2"))
    with pytest.raises(InUseError, match=words):
        changes.unload(state, "toy", "1" if words == "is the default" else "2")


def test_a_version_out_of_use_is_unloaded() -> None:
    """A share of nothing is no use."""
    state = changes.set_split(loaded("1", "2"), "toy", {"1": 100, "2": 0})
    model = changes.unload(state, "toy", "2").models["toy"]
    assert (list(model.versions), model.split) == (["1"], {"1": 100})


def test_a_misspelt_name_has_its_near_miss() -> None:
    """For models and for versions."""
    state = loaded("1", "v-long")
    with pytest.raises(NotThereError, match="did you mean 'toy'"):
        changes.make_default(state, "tooy", "1")
    with pytest.raises(NotThereError, match="did you mean 'v-long'"):
        changes.unload(state, "toy", "v-lon")


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ({"1": 90}, "sums to 90 percent"),
        ({"1": 50, "3": 50}, "names version '3'"),
        ({"1": 110, "2": -10}, "110 percent"),
        ({"1": float("nan"), "2": 1}, "nan percent"),
    ],
)
def test_a_split_that_cannot_be_meant_is_refused(split, words) -> None:
    """100 percent of versions that are loaded."""
    with pytest.raises(ConfigError, match=words):
        changes.set_split(loaded("1", "2"), "toy", split)


def test_a_mirror_answers_no_caller() -> None:
    """What answers is not its own shadow."""
    with pytest.raises(ConfigError, match="mirrored to and answers as well"):
        changes.set_mirror(loaded("1", "2"), "toy", {"1": 50})
    split = changes.set_split(loaded("1", "2"), "toy", {"2": 100})
    with pytest.raises(ConfigError, match="mirrored to and answers as well"):
        changes.set_mirror(split, "toy", {"2": 50})


def test_a_canary_may_be_the_shadow_of_the_others_part() -> None:
    """What the default answers is compared with it; what it answers itself is not."""
    split = changes.set_split(loaded("1", "2"), "toy", {"1": 50, "2": 50})
    assert changes.set_mirror(split, "toy", {"2": 50}).models["toy"].mirror == {"2": 50}


VERSION = st.sampled_from(["1", "2", "3"])
SHARES = st.dictionaries(VERSION, st.sampled_from([0, 5, 50, 95, 100]), max_size=3)
STEPS = st.one_of(
    st.tuples(st.just("load"), VERSION),
    st.tuples(st.just("unload"), VERSION),
    st.tuples(st.just("make_default"), VERSION),
    st.tuples(st.just("set_split"), SHARES),
    st.tuples(st.just("set_mirror"), SHARES),
)


@given(st.lists(STEPS, max_size=12))
def test_whatever_is_done_the_state_can_be_written_read_and_served(tmp_path_factory, steps) -> None:
    """A refused step changes nothing; after any other, default and shares are of loaded versions."""
    folder = tmp_path_factory.mktemp("state")
    state = EMPTY
    for name, argument in steps:
        try:
            if name == "load":
                state = changes.load(state, "toy", argument, f"/r/{argument}", argument * 64)
            else:
                state = getattr(changes, name)(state, "toy", argument)
        except FlightlineError:
            continue
        model = state.models["toy"]
        assert model.default in model.versions
        assert {*model.split, *model.mirror} <= set(model.versions)
        assert model.default not in model.mirror
        assert not any(model.split.get(version) == 100 for version in model.mirror)
    write_desired(folder, state)
    assert read_desired(folder) == state
