"""One key's features at a moment: what to ask a store, and what its answer means.

Where `T(x)` is the total of everything up to `x`, a window's sum is `T(moment) - T(moment - window)`. Up to
`as_of` the base knows `T`; after it, the single events are added up.
"""

from operator import add, sub

from serving.features.groups import Latest, Plan, Totals
from serving.features.store import NEVER, Ask, Base, Found, Held


def ask(plan: Plan, held: Held, key: str, moment: int) -> Ask:
    """What to ask of the store about `key` at `moment`."""
    starts = [moment - window if window else NEVER for window in plan.windows]
    points: set[int] = set()
    if held.generation:
        end = min(moment, held.as_of)
        points = {start for start in starts if NEVER < start < end}
        if any(start < end for start in starts):
            points.add(end)
    recent = {max(start, held.as_of) for start in starts} if moment > held.as_of else set()
    return Ask(
        group=plan.id,
        width=plan.group.width,
        latest=len(plan.group.latest),
        key=key,
        generation=held.generation,
        starts=tuple(sorted(recent)),
        until=moment,
        points=tuple(sorted(points)),
    )


def answer(plan: Plan, held: Held, asked: Ask, found: Found) -> dict[str, float | None]:
    """The features, from what was `found` for what was `asked`; without those that the store cannot know."""
    nothing: Totals = (0,) * plan.group.width
    sums = dict(zip(asked.starts, found.sums, strict=True))
    base = dict(zip(asked.points, found.points, strict=True))
    end = min(asked.until, held.as_of)
    values: dict[str, float | None] = {}
    for window in plan.windows:
        start = asked.until - window if window else NEVER
        totals = sums.get(max(start, held.as_of), nothing)
        newest = found.newest
        if held.generation and start < end:
            totals = tuple(map(add, totals, map(sub, _at(base[end], nothing), _at(base.get(start), nothing))))
            last = base[end]
            if newest is None and last is not None:
                newest = (last.at, last.latest)
        latest: Latest | None = newest[1] if newest is not None and newest[0] > start else None
        known = _known(held, start, asked.until)
        for feature in plan.features:
            # A batch feature is what was materialised and what came after: without the first it is not known.
            if feature.window == window and known and (held.generation or not feature.batch):
                values[feature.name] = feature.value(totals, latest)
    return values


def _at(base: Base | None, nothing: Totals) -> Totals:
    return nothing if base is None else base.totals


def _known(held: Held, start: int, moment: int) -> bool:
    """Whether everything since `start` is known; what lies before the first event counts as known."""
    if start == NEVER:  # a base carries the balance of all that was
        return held.since == NEVER or (held.generation > 0 and moment >= held.since)
    return start >= held.since
