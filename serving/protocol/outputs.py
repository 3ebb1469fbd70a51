"""A model's answers as tensors: `label`, the names of the classes, and `scores`, one a class."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contract.schema import Contract
from contract.strict import near_miss
from serving.protocol.tensors import BYTES, FP32, Floats, join_strings, wrong
from serving.rows import NAME_LENGTH

LABEL, SCORES = "label", "scores"
OUTPUTS = (LABEL, SCORES)


@dataclass(frozen=True)
class Output:
    """One tensor of an answer; `values` row by row."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: "Floats | list[str]"

    def binary(self) -> bytes:
        """Its binary form."""
        if isinstance(self.values, list):
            return join_strings(self.values)
        return self.values.astype("<f4", copy=False).tobytes()


def wanted_outputs(names: Sequence[str]) -> tuple[str, ...]:
    """The outputs to answer with, in the order in which they were asked for; all where none was.

    Raises:
        RefusedError: 422, one is unknown or asked for twice.
    """
    for name in names:
        short = name[:NAME_LENGTH]
        if name not in OUTPUTS:
            raise wrong(
                f"outputs '{short}'",
                "an unknown tensor" + near_miss(short, list(OUTPUTS)),
                ", ".join(OUTPUTS),
            )
        if names.count(name) > 1:
            raise wrong(f"outputs '{short}'", "the same tensor twice", "it once")
    return tuple(names) or OUTPUTS


def to_outputs(
    contract: Contract, labels: NDArray[np.int64], scores: Floats, names: Sequence[str]
) -> list[Output]:
    """The answer to rows as the tensors `names`: labels (rows,), scores (rows, classes)."""
    rows, classes = len(labels), contract.classes
    made = {
        LABEL: lambda: Output(LABEL, BYTES, (rows,), list(map(classes.__getitem__, labels.tolist()))),
        SCORES: lambda: Output(SCORES, FP32, (rows, len(classes)), scores.reshape(-1)),
    }
    return [made[name]() for name in names]
