"""Rows that lack stored features, completed: in the event loop, or beside it where that takes long."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from starlette.concurrency import run_in_threadpool

from contract.schema import Contract
from serving.features.completion import Completed, Completer
from serving.http.admission import INLINE_ROWS
from serving.recording.metrics import Metrics


class Whole(NamedTuple):
    """Rows with their stored features, and what the prediction log is told about them."""

    rows: list[Any]
    keys: Sequence[Any] | None  # sent beside each row; None: beside none
    filled: list[tuple[str, ...]] | None  # by row, what it did not bring itself; None: all brought all


class Completing:
    """Completes and counts, whatever way the rows came; without a completer every row stays as it is."""

    def __init__(self, completer: Completer | None, metrics: Metrics) -> None:
        """Keep what looks up, and where is counted."""
        self._completer, self._metrics = completer, metrics
        self._turn = asyncio.Lock()

    async def whole(
        self,
        contract: Contract,
        rows: list[Any],
        keys: Sequence[Any] | None,
        moments: Sequence[datetime],
        prefix: str = "rows",
    ) -> Whole:
        """`rows` with the stored features that they lack, each as of its moment.

        Raises:
            RowsRefusedError: a feature that may not be null is missing or stale, or a key cannot be one.
        """
        completer, sent = self._completer, keys if keys is not None and any(keys) else None
        beside = keys if keys is not None else [None] * len(rows)
        if completer is None or not completer.needed(contract, rows, beside):
            return Whole(rows, sent, None)
        few = len(rows) <= INLINE_ROWS

        def complete() -> Completed:
            return completer.complete(contract, rows, beside, moments, prefix)

        if few and completer.at_once(contract):
            completed = complete()
        elif few or not completer.store.quick:
            completed = await run_in_threadpool(complete)
        else:
            # One batch at a time: side by side they would be done no sooner over an embedded store, and would
            # take the interpreter from this loop. Who waits holds no thread, which others want.
            async with self._turn:
                completed = await run_in_threadpool(complete)
        self._metrics.completed(contract.model, completed)
        filled = [
            tuple(name for name in done if name not in row) if isinstance(row, dict) else ()
            for row, done in zip(rows, completed.rows, strict=True)
        ]
        return Whole(completed.rows, sent, filled)
