"""What a service must be told: a few variables of its environment."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

from contract.errors import ConfigError
from contract.strict import near_miss

Clock = Literal["wall", "request"]
MOST_DRAIN_SECONDS = 300
MOST_THREADS = 64
_DIGEST = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Settings:
    """Folders and the clock of one service."""

    state: Path  # holds desired.json and acks/
    trust: Path  # JSON of contract.attestation.Trust
    predictions: Path  # the prediction log, one folder per model
    scores: Path  # precomputed answers that can be looked up, one file per model
    clock: Clock  # `request`: a caller may say when a prediction happens, as replays must
    grpc_port: int | None = None  # of the gRPC server; None has none
    grpc_host: str = "127.0.0.1"
    otlp_endpoint: str = ""  # of an OpenTelemetry collector, such as http://127.0.0.1:4318; empty: no spans
    admin_port: int | None = None  # of the admin API on the loopback; 0 takes a free one, None has no API
    drain_seconds: float = 0.5  # between the 503 of /readyz and the end of accepting, after SIGTERM
    bundle: Path | None = None  # a baked-in release directory: what to serve instead of a desired state
    model_uri: str = ""  # the same, fetched at the start
    model_digest: str = ""  # the bundle that one of the two must be; empty: any that is trusted
    model_version: str = ""  # what to call it; empty: the first digits of its digest

    online_store: str = ""  # an address that serving.features.store.open_store takes
    online_cache_s: float = 1.0  # how long what was read from it is used again; 0: never
    onnx_threads: int = 1  # that one run of a graph may use

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "Settings":
        """Read the FLIGHTLINE_* variables of serving/README.md, and MODEL_URI, MODEL_DIGEST, MODEL_VERSION.

        Raises:
            ConfigError: the state or the trust list is not named, or a variable has no usable value.
        """
        values = os.environ if environment is None else environment
        for name in ("FLIGHTLINE_STATE", "FLIGHTLINE_TRUST"):
            if not values.get(name):
                raise ConfigError(f"{name} is not set", "a path", f"Set {name} in the service's environment")
        clock = values.get("FLIGHTLINE_CLOCK", "wall")
        if clock not in get_args(Clock):
            hint = near_miss(clock, list(get_args(Clock)))
            raise ConfigError(f"FLIGHTLINE_CLOCK is '{clock}'{hint}", "'wall' or 'request'", "Correct it")
        state = Path(values["FLIGHTLINE_STATE"]).absolute()
        cache = values.get("FLIGHTLINE_ONLINE_CACHE_S", "") or "1"
        if not re.fullmatch(r"\d{1,4}(\.\d{1,6})?", cache):
            raise ConfigError(
                f"FLIGHTLINE_ONLINE_CACHE_S is '{cache}'", "seconds, such as 0.5, or 0 for none", "Correct it"
            )
        return cls(
            state=state,
            trust=Path(values["FLIGHTLINE_TRUST"]).absolute(),
            predictions=Path(values.get("FLIGHTLINE_PREDICTIONS") or state / "predictions").absolute(),
            scores=Path(values.get("FLIGHTLINE_SCORES") or state / "scores").absolute(),
            clock=cast("Clock", clock),
            grpc_port=_port(values, "FLIGHTLINE_GRPC_PORT") or None,
            grpc_host=values.get("FLIGHTLINE_GRPC_HOST") or "127.0.0.1",
            otlp_endpoint=_url(values),
            admin_port=_port(values, "FLIGHTLINE_ADMIN_PORT"),
            drain_seconds=_seconds(values),
            **_release(values),
            online_store=values.get("FLIGHTLINE_ONLINE_STORE") or str(default_store(state)),
            online_cache_s=float(cache),
            onnx_threads=_threads(values),
        )

    @property
    def pinned(self) -> str:
        """The variable that names the one release to serve; empty where the desired state decides."""
        return "FLIGHTLINE_BUNDLE" if self.bundle else "MODEL_URI" if self.model_uri else ""


def _port(values: Mapping[str, str], name: str) -> int | None:
    text = values.get(name, "")
    if text in {"", "off"}:
        return None
    last = 65535
    if not text.isascii() or not text.isdecimal() or int(text) > last:
        raise ConfigError(f"{name} is '{text}'", f"a port up to {last}, or 0 for a free one", "Correct it")
    return int(text)


def _threads(values: Mapping[str, str]) -> int:
    text = values.get("FLIGHTLINE_ONNX_THREADS") or str(Settings.onnx_threads)
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:20]) <= MOST_THREADS:
        raise ConfigError(
            f"FLIGHTLINE_ONNX_THREADS is '{text[:40]}'",
            f"a whole number from 1 to {MOST_THREADS}",
            "Correct it",
        )
    return int(text)


def _seconds(values: Mapping[str, str]) -> float:
    text = values.get("FLIGHTLINE_DRAIN_SECONDS", "")
    try:
        seconds = float(text or Settings.drain_seconds)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MOST_DRAIN_SECONDS:
        raise ConfigError(
            f"FLIGHTLINE_DRAIN_SECONDS is '{text}'", f"seconds from 0 to {MOST_DRAIN_SECONDS}", "Correct it"
        )
    return seconds


def _release(values: Mapping[str, str]) -> dict[str, Any]:
    """The variables of a service that was started with one release."""
    bundle, uri = values.get("FLIGHTLINE_BUNDLE", ""), values.get("MODEL_URI", "")
    if bundle and uri:
        raise ConfigError("FLIGHTLINE_BUNDLE and MODEL_URI are both set", "one of the two", "Unset the other")
    if (bundle or uri) and _port(values, "FLIGHTLINE_ADMIN_PORT") is not None:
        raise ConfigError(
            "FLIGHTLINE_ADMIN_PORT is set for a service of one release",
            "no admin API, since nothing can be changed",
            "Unset it, or serve a desired state",
        )
    digest, version = values.get("MODEL_DIGEST", ""), values.get("MODEL_VERSION", "")
    if (bundle or uri) and digest and not _DIGEST.fullmatch(digest):
        raise ConfigError(f"MODEL_DIGEST is '{digest[:80]}'", "64 hexadecimal digits", "Correct it")
    return {
        "bundle": Path(bundle).absolute() if bundle else None,
        "model_uri": uri,
        "model_digest": digest if bundle or uri else "",
        "model_version": version if bundle or uri else "",
    }


def _url(values: Mapping[str, str]) -> str:
    text = values.get("FLIGHTLINE_OTLP_ENDPOINT", "")
    if text and not text.startswith(("http://", "https://")):
        raise ConfigError(
            f"FLIGHTLINE_OTLP_ENDPOINT is '{text[:80]}'", "a URL such as http://127.0.0.1:4318", "Correct it"
        )
    return text


def default_store(state: Path) -> Path:
    """The embedded online store of the service with this state folder: one file for all its workers."""
    return state / "online.db"
