"""What no look-up of the shared store reaches any more, removed from Redis in parts."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from serving.features.redis_keys import PREFIX
from serving.features.store import State

CHUNK = 2_000  # commands a round trip


def sweep(client: Any, state: State) -> None:
    """Remove generations before those of `state`, and recent events that a base covers."""
    current = {name: held.generation for name, held in state.groups.items()}
    current |= {name: published.generation for name, published in state.records.items()}
    for name, generation in current.items():
        for old in client.smembers(PREFIX + f"made:{name}"):
            if int(old) < generation:
                made = PREFIX + f"made:{name}:{int(old)}"
                for part in chunks(client.sscan_iter(made)):
                    client.delete(*(PREFIX + key.decode() for key in part))
                client.delete(made)
                client.srem(PREFIX + f"made:{name}", old)
    for name, held in state.groups.items():
        for part in chunks(client.sscan_iter(PREFIX + f"keys:{name}")):
            with client.pipeline(transaction=False) as pipe:
                for key in part:
                    pipe.zremrangebyscore(PREFIX + key.decode(), "-inf", held.as_of)
                pipe.execute()


def chunks(items: Iterator[Any]) -> Iterator[list[Any]]:
    """Lists of at most `CHUNK` of `items`."""
    while part := list(islice(items, CHUNK)):
        yield part
