"""A bad bundle is refused, and whoever answered answers on (R3, S5)."""

import msgspec
import pytest

from serving.models import changes
from serving.models.desired import read_desired, write_desired
from tests.serving.models.bad_bundles import BAD, missing_file, older_contract, truncated
from tests.serving.models.several import Service

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(("make", "words"), BAD)
@pytest.mark.parametrize("how", ["beside", "instead"])
def test_a_bad_bundle_is_refused_and_the_champion_answers_on(service, make, words, how) -> None:
    """Loaded beside the champion or in its place: a sentence, and not one answer changes (R3)."""
    before = service.ask().json()
    (service.load if how == "beside" else service.exchange)("2", make(service.build))
    assert words in service.refused["toy@2"]
    assert service.ask().json() == before
    assert service.ask("?version=2").status_code == 404
    assert service.host.versions.ready


def test_an_older_contract_may_be_allowed(service) -> None:
    """Going back to a version that knows less is somebody's decision."""
    narrow = older_contract(service.build)
    service.load("2", narrow, older_contract=True)
    assert service.refused == {}
    service.change("make_default", "2")
    assert "older contract" in service.refused["toy@2"]  # each step of it
    assert service.ask().json()["version"] == "1"
    service.change("make_default", "2", older_contract=True)
    answer = service.host.client.post("/predict", {"row": {"width": 1.5, "letter": "A"}})
    assert answer.json()["version"] == "2"


def test_a_worker_that_starts_serves_what_others_were_told_to(make_host, make_bundle) -> None:
    """Older versions beside the champion are no reason to refuse where nobody is served yet."""
    service = Service(make_host(), make_bundle)
    narrow, wide = older_contract(make_bundle), make_bundle(seed=3)
    state = changes.load(changes.EMPTY, "toy", "2", str(wide.path), wide.digest)
    state = changes.load(state, "toy", "1", str(narrow.path), narrow.digest)
    service.host.settings.trust.write_bytes(wide.trust_file.read_bytes())
    write_desired(service.host.settings.state, msgspec.structs.replace(state, generation=4))
    service.host.versions.poll()
    assert service.refused == {}
    assert sorted(service.host.versions.current.loaded["toy"].versions) == ["1", "2"]


def test_a_refused_canary_leaves_its_share_to_the_default(service) -> None:
    """And the service is ready: the champion answers everything."""
    bad = truncated(service.build)
    state = read_desired(service.host.settings.state)
    state = changes.load(state, "toy", "2", str(bad.path), bad.digest)
    state = changes.set_split(state, "toy", {"1": 10, "2": 90})
    write_desired(service.host.settings.state, msgspec.structs.replace(state, generation=2))
    service.host.versions.poll()
    assert {service.ask(request_id=str(number)).json()["version"] for number in range(30)} == {"1"}


def test_a_version_under_a_known_name_with_a_bad_bundle_leaves_its_predecessor(service) -> None:
    """The name goes on meaning what it meant."""
    service.load("2")
    kept = service.releases["2"]
    bad = missing_file(service.build)
    state = read_desired(service.host.settings.state)
    model = state.models["toy"]
    wanted = msgspec.structs.replace(model.versions["2"], release=str(bad.path), digest=bad.digest)
    model = msgspec.structs.replace(model, versions={**model.versions, "2": wanted})
    after = msgspec.structs.replace(state, generation=9, models={"toy": model})
    write_desired(service.host.settings.state, after)
    service.host.versions.poll()
    assert "lacks golden.json" in service.refused["toy@2"]
    assert service.ask("?version=2").json()["digest"] == kept
