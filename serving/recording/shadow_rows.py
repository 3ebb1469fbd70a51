"""Rows that were answered, as a shadow would have had them from the same callers."""

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from contract.schema import Contract
from serving.features.completion import Completer
from serving.features.store import StoreError
from serving.recording.answered import Answered
from serving.rows import Value

logger = logging.getLogger(__name__)


class Asked(NamedTuple):
    """Rows for a shadow, and what the prediction log is told about them."""

    rows: list[Any]
    keys: list[Mapping[str, Any] | None] | None  # sent beside each row; None: beside none
    filled: list[tuple[str, ...]] | None  # by row, what no caller brought; None: all brought all


class UnreadError(Exception):
    """The online store does not answer, so that nobody knows what a shadow would have been given."""


class ShadowRows:
    """Makes rows for shadows, completed from the online store as a caller's are. Used by one thread.

    Its connection to the store is its own, so that no caller waits for it, and is opened for the first row
    that needs it.
    """

    def __init__(self, open_completer: Callable[[], Completer] | None) -> None:
        """Keep how the store is opened; None: there is none, and what a row lacks is missing."""
        self._open = open_completer
        self._completer: Completer | None = None
        self._lost = False

    def of(self, answered: Answered, rows: Sequence[int], wanted: Contract) -> Asked:
        """Those `rows` of `answered` under the contract `wanted`, each as of its own moment.

        Raises:
            RowsRefusedError: the shadow would refuse their caller.
            UnreadError: the store does not answer.
        """
        looked_up = [set(answered.filled[row]) if answered.filled is not None else set() for row in rows]
        asked: list[Any] = [
            _row(answered.contract, answered.values[row], names, wanted)
            for row, names in zip(rows, looked_up, strict=True)
        ]
        filled = [
            tuple(f.name for f in wanted.stored if f.name in names or f.name not in row)
            for row, names in zip(asked, looked_up, strict=True)
        ]
        keys = None if answered.keys is None else [answered.keys[row] for row in rows]
        absent = any(feature.name not in row for row in asked for feature in wanted.stored)
        # Where keys differ, one that was sent may be unknown to the shadow: it would refuse the caller.
        foreign = keys is not None and wanted.keys != answered.contract.keys
        if self._open is not None and (absent or foreign):
            moments = [answered.event_times[row] for row in rows]
            asked = self._completed(self._open, wanted, asked, keys or [None] * len(asked), moments)
        return Asked(asked, keys, filled if any(filled) else None)

    def close(self) -> None:
        """Let go of the store."""
        if self._completer is not None:
            self._completer.close()

    def _completed(
        self,
        open_completer: Callable[[], Completer],
        wanted: Contract,
        asked: list[Any],
        keys: Sequence[Mapping[str, Any] | None],
        moments: Sequence[datetime],
    ) -> list[Any]:
        try:
            self._completer = self._completer or open_completer()
            completed = self._completer.complete(wanted, asked, keys, moments)
        except StoreError as error:
            raise self._unread(str(error)) from None
        if completed.unread:
            raise self._unread(completed.unread)
        self._lost = False
        return completed.rows

    def _unread(self, why: str) -> UnreadError:
        if not self._lost:  # said once: the store may be away for many rows
            logger.warning("shadows fail for want of the online store: %s", why)
        self._lost = True
        return UnreadError(why)


def _row(
    contract: Contract,
    values: Mapping[str, Value] | tuple[Value, ...],
    looked_up: set[str],
    wanted: Contract,
) -> dict[str, Value]:
    """A row as `wanted` names it: what only the answering version has is left out.

    Left out, too, is what the store gave for a feature that `wanted` declares otherwise, its window, say.
    """
    if isinstance(values, tuple):
        values = {feature.name: value for feature, value in zip(contract.features, values, strict=True)}
    declared = {feature.name: feature for feature in contract.features}
    return {
        feature.name: values[feature.name]
        for feature in wanted.features
        if feature.name in values and (feature.name not in looked_up or feature == declared[feature.name])
    }
