"""Only what MLflow sent, lately and once, is acted on; all else gets a status and a sentence."""

import hmac
import json
import stat
from pathlib import Path

import pytest

from contract.errors import BundleError
from pipelines.promotion.deliveries import KEPT_S, Deliveries
from pipelines.promotion.webhooks import (
    ID,
    LARGEST,
    OLDEST_S,
    SIGNATURE,
    TIMESTAMP,
    Delivery,
    RejectedError,
    check_delivery,
    check_headers,
    secret,
    signature,
)
from tests.pipelines.delivery.conftest import settings_in

pytestmark = pytest.mark.unit

NOW = 1_700_000_000.0
KEY = "the shared secret"
IDENTITY = "11111111-2222-3333-4444-555555555555"
EVENT = {
    "entity": "model_version_alias",
    "action": "created",
    "timestamp": "2013-05-01T00:00:00+00:00",
    "data": {"name": "iris", "alias": "champion", "version": "2"},
}


def signed(
    event: object = EVENT, *, key: str = KEY, sent: float = NOW, identity: str = IDENTITY
) -> tuple[dict[str, str], bytes]:
    """Headers and body as MLflow makes them."""
    body = json.dumps(event).encode()
    when = str(int(sent))
    return {ID: identity, TIMESTAMP: when, SIGNATURE: signature(key, identity, when, body)}, body


def refusal(headers: dict[str, str], body: bytes) -> RejectedError:
    """What a delivery is answered."""
    with pytest.raises(RejectedError) as caught:
        check_delivery(headers, body, KEY, NOW)
    return caught.value


def test_a_genuine_delivery_is_understood() -> None:
    """Name, alias and version, and when it was sent."""
    assert check_delivery(*signed(), KEY, NOW) == Delivery(IDENTITY, int(NOW), "iris", "champion", "2")
    gone = {**EVENT, "action": "deleted", "data": {"name": "iris", "alias": "champion"}}
    assert check_delivery(*signed(gone), KEY, NOW).version == ""


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({SIGNATURE: ""}, id="unsigned"),
        pytest.param({SIGNATURE: "v1,AAAA"}, id="forged"),
        pytest.param({SIGNATURE: "v1,\u00e9"}, id="not-ascii"),
        pytest.param({ID: "22222222-2222-3333-4444-555555555555"}, id="another-id"),
        pytest.param({TIMESTAMP: str(int(NOW) + 1)}, id="another-time"),
    ],
)
def test_a_bad_signature_is_refused(change: dict[str, str]) -> None:
    """Id, time and body are all signed: none of them can be changed."""
    headers, body = signed()
    assert refusal({**headers, **change}, body).status == 401
    assert refusal(headers, body + b" ").status == 401
    assert refusal(*signed(key="another secret")).status == 401


@pytest.mark.parametrize("sent", [NOW - OLDEST_S - 1, NOW + OLDEST_S + 1, 0, 10.0**15])
def test_a_delivery_of_another_time_is_refused(sent: float) -> None:
    """However well it is signed."""
    refused = refusal(*signed(sent=sent))
    assert refused.status == 403
    assert "the reconciler" in str(refused)
    check_delivery(*signed(sent=NOW - OLDEST_S), KEY, NOW)


def test_an_id_that_is_none_is_refused() -> None:
    """It is kept and printed."""
    assert refusal(*signed(identity="x" * 65)).status == 401
    assert refusal(*signed(identity="")).status == 401


@pytest.mark.parametrize(
    "event",
    [
        pytest.param({**EVENT, "entity": "model_version"}, id="another-event"),
        pytest.param({**EVENT, "data": {"name": "iris"}}, id="no-alias"),
        pytest.param({**EVENT, "data": {"name": 1, "alias": "champion"}}, id="a-number-for-a-name"),
        pytest.param(["champion"], id="a-list"),
    ],
)
def test_what_is_no_event_about_an_alias_is_refused(event: object) -> None:
    """A webhook of MLflow that is aimed at us by mistake does nothing."""
    assert refusal(*signed(event)).status == 400


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/plain", "Content-Length": "2"}, 415),
        ({"Content-Length": "2"}, 415),
        ({"Content-Type": "application/json"}, 411),
        ({"Content-Type": "application/json", "Content-Length": "-1"}, 411),
        ({"Content-Type": "application/json", "Content-Length": "\u00b2"}, 411),
        ({"Content-Type": "application/json", "Content-Length": "2", "Transfer-Encoding": "chunked"}, 411),
        ({"Content-Type": "application/json", "Content-Length": str(LARGEST + 1)}, 413),
        ({"Content-Type": "application/json", "Content-Length": "9" * 5000}, 413),
    ],
)
def test_what_should_not_be_read_is_refused_before_it_is(headers: dict[str, str], status: int) -> None:
    """The sender does not choose how much is read."""
    with pytest.raises(RejectedError) as caught:
        check_headers(headers)
    assert caught.value.status == status


def test_what_may_be_read_has_a_length() -> None:
    """A charset does no harm."""
    headers = {"Content-Type": "application/json; charset=utf-8", "Content-Length": str(LARGEST)}
    assert check_headers(headers) == LARGEST


def delivery(identity: str = IDENTITY, sent: float = NOW) -> Delivery:
    """One about iris."""
    return Delivery(identity, int(sent), "iris", "champion", "2")


def test_a_delivery_is_accepted_once_and_a_restart_does_not_forget_it(tmp_path: Path) -> None:
    """Before and after it was acted on, by this process and by the next."""
    deliveries = Deliveries(tmp_path / "relay" / "deliveries.db")
    deliveries.accept(delivery(), NOW)
    assert deliveries.pending() == [delivery()]
    for _ in range(2):
        for known in (deliveries, Deliveries(tmp_path / "relay" / "deliveries.db")):
            with pytest.raises(RejectedError) as caught:
                known.accept(delivery(), NOW)
            assert caught.value.status == 409
        deliveries.done(delivery())
        assert deliveries.pending() == []


def test_an_id_is_kept_for_as_long_as_it_could_be_replayed(tmp_path: Path) -> None:
    """From the last moment at which its time stamp would pass it is refused by that alone, and forgotten."""
    deliveries = Deliveries(tmp_path / "deliveries.db")
    for sent in (NOW - OLDEST_S, NOW + OLDEST_S):
        old = delivery(f"at-{sent:.0f}", sent)
        deliveries.accept(old, NOW)
        deliveries.done(old)
        with pytest.raises(RejectedError):
            deliveries.accept(old, sent + OLDEST_S)
    deliveries.accept(delivery("later-on"), NOW + 4 * OLDEST_S)
    deliveries.accept(delivery(f"at-{NOW + OLDEST_S:.0f}"), NOW + 4 * OLDEST_S)  # forgotten by now


def test_what_cannot_be_acted_on_is_given_up_in_the_end(tmp_path: Path) -> None:
    """The alias is still where it is: the reconciler knows no age."""
    deliveries = Deliveries(tmp_path / "deliveries.db")
    deliveries.accept(delivery("first-one"), NOW)
    deliveries.accept(delivery("second-one", NOW + KEPT_S), NOW + KEPT_S)
    assert [item.id for item in deliveries.pending()] == ["first-one", "second-one"]
    deliveries.accept(delivery("third-one", NOW + KEPT_S + 1), NOW + KEPT_S + 1)
    assert [item.id for item in deliveries.pending()] == ["second-one", "third-one"]


def test_the_secret_is_made_once_for_its_owners_eyes(tmp_path: Path) -> None:
    """A new one is another one; one that others can read is refused."""
    settings = settings_in(tmp_path / "var")
    first = secret(settings)
    path = settings.keys / "webhook.secret"
    assert secret(settings) == first
    assert len(first) >= 43  # 256 bits
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.unlink()
    assert secret(settings) != first
    path.chmod(0o644)
    with pytest.raises(BundleError, match="is open to others than its owner"):
        secret(settings)
    path.write_text("")
    path.chmod(0o600)
    with pytest.raises(BundleError, match="is empty"):
        secret(settings)


def test_signatures_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the function that is made for it: a forger learns nothing from how long a refusal takes."""
    seen = []
    real = hmac.compare_digest

    def compared(one: bytes, other: bytes) -> bool:
        seen.append((one, other))
        return bool(real(one, other))

    monkeypatch.setattr("pipelines.promotion.webhooks.hmac.compare_digest", compared)
    headers, body = signed()
    check_delivery(headers, body, KEY, NOW)
    assert seen == [(headers[SIGNATURE].encode(),) * 2]
