"""What the shared store holds in Redis: names of keys, forms of values, and the script that adds events."""

import secrets
from collections.abc import Iterator
from typing import Any

import msgspec

from serving.features.groups import Latest, Totals
from serving.features.store import Ask, Base, Event, Found, Row, larger

PREFIX = "flightline:"
_MEMBER = msgspec.json.Decoder(tuple[int, str, Totals, Latest])
_BASE = msgspec.json.Decoder(Base)

# All of a call's events or none, by the state that the caller knows. A moment is below 2^53, so that a score
# and a number of Lua, both doubles, hold it exactly. Totals are never computed here.
ADD = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return false end
local found, place, prefix = {0, 0, 0, 0, 0}, 2, ARGV[2]
while place < #ARGV do
    local id, stream, at, text = ARGV[place + 1], ARGV[place + 2], ARGV[place + 3], ARGV[place + 4]
    local base, rows = tonumber(ARGV[place + 5]), tonumber(ARGV[place + 6])
    place = place + 6
    local counts, one = prefix .. 'stream:' .. stream, {0, 0, 0, 0, 0}
    if redis.call('HSETNX', prefix .. 'log', id, text) == 1 then
        redis.call('ZADD', prefix .. 'log:at', at, id)
        redis.call('SADD', prefix .. 'streams', stream)
        for row = 1, rows do
            redis.call('ZADD', prefix .. ARGV[place + 3 * row - 1], at, ARGV[place + 3 * row])
            redis.call('SADD', prefix .. ARGV[place + 3 * row - 2], ARGV[place + 3 * row - 1])
        end
        local newest = redis.call('HGET', counts, 'newest')
        one[1], one[5] = 1, base
        if newest and tonumber(at) < tonumber(newest) then one[4] = 1
        else redis.call('HSET', counts, 'newest', at) end
    else
        one[2] = 1
        if redis.call('HGET', prefix .. 'log', id) ~= text then one[3] = 1 end
    end
    for number, name in ipairs({'accepted', 'duplicates', 'conflicting', 'late', 'covered'}) do
        redis.call('HINCRBY', counts, name, one[number])
        found[number] = found[number] + one[number]
    end
    place = place + 3 * rows
end
return found
"""


def put_question(pipe: Any, ask: Ask) -> None:
    """Ask Redis what `read_found` reads the answer of."""
    if ask.starts:
        recent = PREFIX + recent_of(ask.group, ask.key)
        pipe.zrange(recent, f"({ask.starts[0]}", ask.until, byscore=True)
    base = PREFIX + base_of(ask.generation, ask.group, ask.key)
    for point in ask.points:
        pipe.zrange(base, point, "-inf", desc=True, byscore=True, offset=0, num=1)


def read_found(ask: Ask, said: Iterator[Any]) -> Found:
    """The answer to one question, out of what Redis said next."""
    sums: list[tuple[int, ...]] = []
    newest: tuple[int, Latest] | None = None
    if ask.starts:
        totals = [[0] * ask.width for _ in ask.starts]
        for member in next(said):
            at, _, numbers, latest = _MEMBER.decode(member)
            for start, total in zip(ask.starts, totals, strict=True):
                if at > start:
                    for column, number in enumerate(numbers):
                        total[column] += number
            if ask.latest:
                same = newest is not None and newest[0] == at
                newest = (at, larger(newest[1], latest) if newest is not None and same else latest)
        sums = [tuple(total) for total in totals]
    points: list[Base | None] = []
    for _ in ask.points:
        rows = next(said)
        points.append(_BASE.decode(rows[0]) if rows else None)
    return Found(sums, newest, points)


def new_epoch() -> int:
    """What a state is known by that was never there before.

    Drawn, not counted: a Redis that lost its data would count to the same numbers again, and who knew it
    before would take what it holds now for what it held then.
    """
    return 1 + secrets.randbits(52)


def recent_of(group: str, key: str) -> str:
    """Where the recent events of a key are."""
    return f"recent:{group}:{key}"


def base_of(generation: int, group: str, key: str) -> str:
    """Where the base of a key is."""
    return f"base:{generation}:{group}:{key}"


def member(event: Event, row: Row) -> bytes:
    """A recent event: the same one is the same member."""
    return msgspec.json.encode((event.at, event.id, row.totals, row.latest))


def logged(event: Event) -> bytes:
    """An event as the log has it."""
    return msgspec.json.encode((event.stream, event.at, event.facts), order="sorted")
