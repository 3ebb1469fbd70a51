"""Runs of few rows, together as the columns that they become.

Each run's own objects would be looked at again a second later, when they have left the processor's cache and
the collector has walked them twice.
"""

from array import array

import numpy as np
from numpy.typing import NDArray

from contract.log_layout import Role
from serving.recording.answered import Answered, Matrices, microseconds

MOST_TOGETHER = 64  # rows of a run; a longer one is columns enough


class Gathered:
    """What runs of one version answered, row after row; it is read as an `Answered` of many runs."""

    __slots__ = (
        "_labels",
        "_numbers",
        "_scores",
        "_words",
        "contract",
        "digest",
        "entity_ids",
        "filled",
        "happened",
        "keys",
        "latencies_ms",
        "received",
        "received_at",
        "request_ids",
        "role",
        "sizes",
        "version",
    )

    def __init__(self, first: Answered) -> None:
        """Nothing yet, of what answered `first`."""
        self.contract, self.version, self.digest = first.contract, first.version, first.digest
        self.role: Role = first.role
        self.keys = self.filled = None
        self.request_ids: list[str] = []
        self.entity_ids: list[str | None] = []
        self.happened = array("q")  # microseconds since the epoch
        self.received_at = first.received_at
        self.received = array("q")  # the same of its runs, as are the next two
        self.latencies_ms = array("d")
        self.sizes = array("q")
        self._numbers, self._labels, self._scores = bytearray(), bytearray(), bytearray()
        self._words: list[str] = []

    def __len__(self) -> int:
        """How many rows."""
        return len(self.request_ids)

    @staticmethod
    def may_hold(item: Answered) -> bool:
        """Whether a run is gathered: a short one, by column, with nothing beside its rows."""
        return (
            type(item.values) is Matrices
            and len(item.request_ids) <= MOST_TOGETHER
            and item.keys is None
            and item.filled is None
        )

    def like(self, item: Answered) -> bool:
        """Whether `item` was answered by the same."""
        return item.digest == self.digest and item.version == self.version and item.role == self.role

    def add(self, item: Answered, values: Matrices) -> None:
        """Take a run, whose `values` these are."""
        ids = item.request_ids
        self.request_ids += ids
        self.entity_ids += item.entity_ids
        at = item.received_at
        received = microseconds(at)
        self.happened.extend(
            [received if moment is at else microseconds(moment) for moment in item.event_times]
        )
        self.received.append(received)
        self.latencies_ms.append(item.latency_ms)
        self.sizes.append(len(ids))
        self._numbers += values.numbers.tobytes()
        self._labels += item.labels.tobytes()
        self._scores += item.scores.tobytes()
        if values.words is not None:
            self._words += values.words.ravel().tolist()

    @property
    def labels(self) -> NDArray[np.int64]:
        """Of its rows, indices into the classes."""
        return np.frombuffer(self._labels, np.int64)

    @property
    def scores(self) -> NDArray[np.float32]:
        """Of its rows, (rows, classes)."""
        return np.frombuffer(self._scores, np.float32).reshape(len(self.request_ids), -1)

    @property
    def numbers(self) -> NDArray[np.float64]:
        """The numbers of its rows, (rows, numbers)."""
        return np.frombuffer(self._numbers, np.float64).reshape(len(self.request_ids), -1)

    def texts(self, column: int, rows: slice) -> list[str]:
        """One category of some of its rows."""
        width = len(self.contract.categories)
        return self._words[rows.start * width + column : rows.stop * width : width]

    @property
    def values(self) -> Matrices:
        """The features of its rows."""
        width = len(self.contract.categories)
        words = np.fromiter(self._words, np.object_, len(self._words)).reshape(-1, width) if width else None
        return Matrices(self.contract, self.numbers, words)
