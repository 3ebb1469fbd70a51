"""What one run of a model answered, as it waits for the thread that writes the prediction log."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.log_layout import KINDS, Role
from contract.schema import Contract
from serving.rows import Value

# Bytes of memory that a waiting row takes beside its texts, about: itself, and for each of its values.
ROW_BYTES, VALUE_BYTES = 600, 60

_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


def microseconds(moment: datetime) -> int:
    """Since the epoch."""
    return (moment - _EPOCH) // _MICROSECOND


@dataclass(frozen=True, slots=True)
class Matrices(Sequence[tuple[Value, ...]]):
    """Rows held by column: a twentieth of the objects, and written without a look at each value."""

    contract: Contract
    numbers: NDArray[np.float64]  # (rows, numbers) of the contract's order; missing is NaN
    words: NDArray[np.object_] | None  # (rows, categories); missing is ""

    def __len__(self) -> int:
        """How many rows."""
        return len(self.numbers)

    def texts(self, column: int, rows: slice) -> list[str]:
        """One category of some of them.

        Raises:
            ValueError: they have none.
        """
        if self.words is None:
            raise ValueError("rows without categories")
        found: list[str] = self.words[rows, column].tolist()
        return found

    def __getitem__(self, index: Any) -> Any:
        """One row, as it was sent."""
        numbers = iter(self.numbers[index].tolist())
        words = iter(() if self.words is None else self.words[index])
        row: list[Value] = []
        for feature in self.contract.features:
            value = next(words) or None if feature.kind == "category" else next(numbers)
            row.append(None if value != value else value)  # noqa: PLR0124 - NaN alone differs from itself
        return tuple(row)


@dataclass(frozen=True, slots=True)
class Numbered(Sequence[str]):
    """The ids of a request's many rows, `ID/0` and on: texts only when somebody asks for them."""

    request_id: str
    size: int

    def __len__(self) -> int:
        """How many."""
        return self.size

    def __getitem__(self, index: Any) -> Any:
        """One of them."""
        if not 0 <= index < self.size:
            raise IndexError(index)
        return f"{self.request_id}/{index}"

    def __iter__(self) -> Iterator[str]:
        """All of them."""
        return (f"{self.request_id}/{index}" for index in range(self.size))


@dataclass(slots=True)
class Answered:
    """Everything that one onnxruntime run answered; each sequence holds one item a row."""

    contract: Contract
    version: str
    digest: str
    request_ids: Sequence[str]
    entity_ids: list[str | None]
    received_at: datetime
    event_times: list[datetime]
    latency_ms: float
    labels: NDArray[np.int64]  # (rows,), indices into contract.classes
    scores: NDArray[np.float32]  # (rows, classes)
    # Rows are mappings by feature name, or tuples in the order of the contract's features, as of `Matrices`.
    values: Sequence[Mapping[str, Value] | tuple[Value, ...]]
    role: Role = "answer"
    keys: Sequence[Mapping[str, Any] | None] | None = None  # sent beside the row; None: by no caller
    filled: Sequence[Sequence[str]] | None = None  # features from the online store; None: none of any row

    def __len__(self) -> int:
        """How many rows."""
        return len(self.request_ids)

    @property
    def received(self) -> list[int]:
        """Microseconds since the epoch of its runs, which are one; as are the next two."""
        return [microseconds(self.received_at)]

    @property
    def latencies_ms(self) -> list[float]:
        """Of its run."""
        return [self.latency_ms]

    @property
    def sizes(self) -> list[int]:
        """How many rows it has."""
        return [len(self.request_ids)]

    @property
    def happened(self) -> NDArray[np.int64]:
        """Microseconds since the epoch of its rows, which often share one moment."""
        moments = self.event_times
        if moments.count(moments[0]) == len(moments):
            return np.full(len(moments), microseconds(moments[0]))
        return np.fromiter(map(microseconds, moments), np.int64, len(moments))


class Sizes:
    """How many bytes of memory answers hold back, about, in a fraction of a microsecond a row."""

    def __init__(self) -> None:
        """Know no contract yet."""
        self._known: dict[str, tuple[int, list[int], list[str]]] = {}  # by digest

    def of(self, item: Answered) -> int:
        """Bytes that `item` takes while it waits: fixed ones a row, and its texts, which have no bound."""
        known = self._known.get(item.digest)
        if known is None:
            known = self._known[item.digest] = _shape(item.contract)
        fixed, places, names = known
        total = fixed * len(item.request_ids)
        if isinstance(item.values, Matrices):
            words = item.values.words
            return total if words is None else total + len("".join(words.ravel().tolist()))
        for row in item.values if names else ():
            for key in places if isinstance(row, tuple) else names:
                text = row[key]  # type: ignore[index]  # a place of a tuple, a name of a mapping
                if text is not None:
                    total += len(text)  # type: ignore[arg-type]  # the contract says that it is a text
        return total


def _shape(contract: Contract) -> tuple[int, list[int], list[str]]:
    """Fixed bytes a row, and the places and names of the categories."""
    places = [index for index, feature in enumerate(contract.features) if feature.kind == "category"]
    width = len(contract.features) + len(contract.classes) + len(KINDS)
    names = [contract.features[index].name for index in places]
    return ROW_BYTES + VALUE_BYTES * width, places, names
