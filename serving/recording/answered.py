"""What one run of a model answered, as the prediction log takes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from contract.schema import Contract
from serving.rows import Value


@dataclass(slots=True)
class Answered:
    """Everything that one onnxruntime run answered; each list holds one item a row."""

    contract: Contract
    version: str
    digest: str
    request_ids: list[str]
    entity_ids: list[str | None]
    received_at: list[datetime]
    event_times: list[datetime]
    latency_ms: list[float]
    labels: NDArray[np.int64]  # (rows,), indices into contract.classes
    scores: NDArray[np.float32]  # (rows, classes)
    # Rows are mappings by feature name, or tuples in the order of the contract's features.
    values: Sequence[Mapping[str, Value] | tuple[Value, ...]]
