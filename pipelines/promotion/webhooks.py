"""MLflow's webhooks: the shared secret, the registration, and whether a delivery is genuine.

The scheme is that of Standard Webhooks: HMAC-SHA256 over `id.timestamp.body`.
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from contract.errors import FlightlineError
from contract.strict import decode_json
from pipelines.delivery.keys import shared_secret
from pipelines.delivery.registry import Registry
from pipelines.machine.settings import Settings

NAME = "flightline-relay"  # of the webhook in MLflow
PATH = "/webhooks/mlflow"
EVENTS = ("model_version_alias.created", "model_version_alias.deleted")
SECRET = "webhook.secret"  # noqa: S105 - the name of a file
LARGEST = 64 * 1024  # bytes of a body; an alias event has 200
OLDEST_S = 300  # as the scheme recommends; MLflow gives up after 7
ID, TIMESTAMP, SIGNATURE = "X-MLflow-Delivery-Id", "X-MLflow-Timestamp", "X-MLflow-Signature"
SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)
IDENTITY = re.compile(r"[A-Za-z0-9_-]{8,64}")


class Headers(Protocol):
    """A request's headers, whatever the case of their names."""

    def get(self, name: str, default: str, /) -> str:
        """The value of a header, or `default`."""


class RejectedError(FlightlineError):
    """A request that is no delivery to act on, with the HTTP status that says so."""

    def __init__(self, status: int, found: str, expected: str, remedy: str) -> None:
        """Keep the status beside the sentence."""
        super().__init__(found, expected, remedy)
        self.status = status


@dataclass(frozen=True)
class Delivery:
    """What a genuine delivery says."""

    id: str
    sent: int  # seconds since the epoch
    model: str
    alias: str
    version: str  # empty for an alias that was taken away


class _Data(msgspec.Struct, frozen=True):
    name: str
    alias: str
    version: str = ""


class _Event(msgspec.Struct, frozen=True):
    """What is read of a payload; MLflow may add to it."""

    entity: str
    action: str
    data: _Data


def secret(settings: Settings) -> str:
    """What MLflow and the relay share; made where it is missing, read anew each time."""
    return shared_secret(settings.keys, SECRET, lambda: secrets.token_urlsafe(32).encode())


def signature(key: str, identity: str, sent: str, body: bytes) -> str:
    """The value of the signature's header."""
    digest = hmac.new(key.encode(), f"{identity}.{sent}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def check_headers(headers: Headers) -> int:
    """The length of the body that may be read.

    Raises:
        RejectedError: 411, 413 or 415.
    """
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise RejectedError(
            415, f"the content type is '{kind}'", "application/json", "Send what MLflow sends"
        )
    length = headers.get("Content-Length", "")
    if not (length.isascii() and length.isdecimal()) or headers.get("Transfer-Encoding", ""):
        raise RejectedError(411, "the body has no length", "a Content-Length", "Send the body in one piece")
    if len(length) > len(str(LARGEST)) or int(length) > LARGEST:
        raise RejectedError(
            413, f"the body has {length[:20]} bytes", f"at most {LARGEST}", "Send one event at a time"
        )
    return int(length)


def check_delivery(headers: Headers, body: bytes, key: str, now: float) -> Delivery:
    """What the request says, once it is known to come from whoever has the secret, and of late.

    Raises:
        RejectedError: 401 not signed with `key`; 403 too old or from the future; 400 no event about an alias.
    """
    identity, sent = headers.get(ID, ""), headers.get(TIMESTAMP, "")
    given = headers.get(SIGNATURE, "")
    # Compared in constant time: how long it takes tells nothing about the right one.
    genuine = hmac.compare_digest(given.encode(), signature(key, identity, sent, body).encode())
    if not genuine or not IDENTITY.fullmatch(identity):
        raise RejectedError(
            401,
            "the signature is not that of this delivery" if given else "the delivery is not signed",
            "one made with the secret that MLflow and the relay share",
            "If the secret was replaced, start the relay again: it tells MLflow the new one",
        )
    if not SECONDS.fullmatch(sent) or abs(now - int(sent)) > OLDEST_S:
        raise RejectedError(
            403,
            f"the delivery was signed at {sent[:20]}, and it is {now:.0f}",
            f"at most {OLDEST_S} s between",
            "Set the clocks; what was missed is made up for by the reconciler",
        )
    try:
        event = decode_json(body, _Event, "the delivery")
    except FlightlineError as error:
        raise RejectedError(400, error.found, error.expected, error.remedy) from None
    if f"{event.entity}.{event.action}" not in EVENTS:
        raise RejectedError(
            400, f"the event is {event.entity}.{event.action}", " or ".join(EVENTS), "Change the webhook"
        )
    return Delivery(identity, int(sent), event.data.name, event.data.alias, event.data.version)


def register(registry: Registry, url: str, key: str) -> str:
    """Have MLflow send the events to `url`, signed with `key`; what it did: `made` or `renewed`.

    MLflow does not say which secret it has, so it is told each time. One webhook of our name stays.
    """
    client: Any = registry.client
    with registry.explained("registering the webhook"):
        found = [item for item in _all(registry) if item.name == NAME]
        if not found:
            client.create_webhook(NAME, url, list(EVENTS), "tells the relay", key, "ACTIVE")
            return "made"
        for double in found[1:]:
            client.delete_webhook(double.webhook_id)
        client.update_webhook(found[0].webhook_id, url=url, events=list(EVENTS), secret=key, status="ACTIVE")
        return "renewed"


def _all(registry: Registry) -> list[Any]:
    client: Any = registry.client
    found: list[Any] = []
    token: str | None = None
    while True:
        page = client.list_webhooks(max_results=100, page_token=token)
        found += page
        token = page.token
        if not token:
            return found
