"""The prediction log's columns by name and kind, for whoever writes them without a table library."""

from datetime import UTC, datetime
from typing import Literal, TypeAlias

from contract.schema import Contract

FEATURE_PREFIX = "feature."
SCORE_PREFIX = "score."

Role = Literal["answer", "shadow"]
ANSWER: Role = "answer"  # what a caller was told
SHADOW: Role = "shadow"  # what another version would have said to the same, mirrored request

Kind: TypeAlias = Literal["text", "number", "moment", "texts"]

# One row a prediction. Features as the model saw them and scores follow as `feature.NAME` and `score.CLASS`.
# What the caller sent is `keys` and those features that are not in `filled`.
KINDS: dict[str, Kind] = {
    "request_id": "text",
    "entity_id": "text",  # the caller's id of what was predicted; joins late labels; may be null
    "model": "text",
    "version": "text",
    "digest": "text",
    "role": "text",  # a Role
    "received_at": "moment",
    "event_time": "moment",  # the moment of the prediction: the request's, where the environment allows it
    "latency_ms": "number",
    "keys": "text",  # JSON object of the entity keys sent beside the row; null where there were none
    "filled": "texts",  # features that the caller left out and the online store answered
    "label": "text",
}


def log_kinds(contract: Contract) -> dict[str, Kind]:
    """Column names and kinds of the prediction log of one model, in order."""
    features: dict[str, Kind] = {
        FEATURE_PREFIX + feature.name: "number" if feature.kind == "number" else "text"
        for feature in contract.features
    }
    scores: dict[str, Kind] = {SCORE_PREFIX + name: "number" for name in contract.classes}
    return {**KINDS, **features, **scores}


def segment_name(start: datetime, writer: str, number: int) -> str:
    """File name of one immutable segment: sorted by name is sorted by time, one writer never overwrites."""
    return f"{start.astimezone(UTC):%Y%m%dT%H%M%S%f}-{writer}-{number:06d}.parquet"
