"""One admin call: a new generation of the desired state, and the wait until every live worker acted on it."""

import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from contract.errors import FlightlineError
from serving.models.changes import EMPTY, asked
from serving.models.desired import (
    Ack,
    Desired,
    apply_change,
    desired_lock,
    read_acks,
    read_desired,
)
from serving.models.workers import live_workers

LOOK_S = 0.02


class RefusedError(FlightlineError):
    """A worker refused what a call asks for; what was served before is desired again."""


class LateError(FlightlineError):
    """Not every live worker acknowledged in time; they may still do so."""

    def __init__(self, generation: int, lacking: list[str], wait_s: float) -> None:
        """Keep who has not, and which generation is awaited."""
        who = f"{', '.join(lacking)} of the live workers" if lacking else "no worker"
        verb = "have not" if lacking else "has"
        super().__init__(
            f"{who} {verb} acknowledged generation {generation} within {wait_s:g} s",
            "every live worker to acknowledge it",
            "It stays desired: ask again, or read the service's log",
        )
        self.generation, self.lacking = generation, lacking


@dataclass(frozen=True)
class Done:
    """What a call has come to."""

    generation: int
    changed: bool  # False: it was so already
    workers: tuple[str, ...]  # who acknowledged


def perform(
    state: Path, model: str, change: Callable[[Desired], Desired], wait_s: float, lock_s: float = 5.0
) -> Done:
    """Have every live worker serve what `change` makes of the desired state.

    One call at a time: the lock is held until the workers have answered, so that what a refusal restores is
    what was there before, and nobody else's change.

    Raises:
        FlightlineError: of `change`; nothing was changed.
        BusyError, RefusedError, LateError: as they say.
    """
    deadline = time.monotonic() + wait_s
    with desired_lock(state, min(lock_s, wait_s)):
        before = read_desired(state) or EMPTY
        wanted = change(before)
        changed = wanted != before
        generation = apply_change(state, lambda _: wanted).generation if changed else before.generation
        # Not what was refused before: it would keep everybody from putting something good in its place.
        asked_for = {f"{model}@{version}" for version in asked(before, wanted, model)}
        try:
            acks = _await(state, generation, asked_for, deadline)
            sentences = sorted({sentence for ack in acks.values() for sentence in _refusals(ack, asked_for)})
            if sentences:
                restored = apply_change(state, lambda _: before).generation
                _await(state, restored, frozenset(), deadline + wait_s)
                raise RefusedError(
                    " ".join(sentences).rstrip("."),
                    "a version that every worker can serve",
                    "What answered before answers on",
                )
        except _Lacking as lacking:
            raise LateError(lacking.generation, lacking.workers, wait_s) from None
    return Done(generation=generation, changed=changed, workers=tuple(sorted(acks)))


class _Lacking(Exception):  # noqa: N818 - what is known when the time is over, on its way to a LateError
    def __init__(self, generation: int, workers: list[str]) -> None:
        super().__init__(generation, workers)
        self.generation, self.workers = generation, workers


def _await(state: Path, generation: int, asked_for: Collection[str], deadline: float) -> Mapping[str, Ack]:
    """The acknowledgements of all live workers, or as soon as one refuses what is `asked_for`.

    Who dies meanwhile is not waited for any more, and who is started meanwhile is.
    """
    while True:
        live = live_workers(state)
        acks = {
            worker: ack
            for worker, ack in read_acks(state).items()
            if worker in live and ack.generation >= generation
        }
        lacking = sorted(live - acks.keys())
        if (live and not lacking) or any(_refusals(ack, asked_for) for ack in acks.values()):
            return acks
        if time.monotonic() > deadline:
            raise _Lacking(generation, lacking)
        threading.Event().wait(LOOK_S)


def _refusals(ack: Ack, asked_for: Collection[str]) -> list[str]:
    return [sentence for name, sentence in ack.refused.items() if name in asked_for]
