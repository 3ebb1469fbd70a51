"""Which share of the traffic a request belongs to: a draw that the request's id decides for ever."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")

_SCALE = 100 / 2**64


def draw(salt: str, request_id: str) -> float:
    """A number in [0, 100), the same for the same words in every process; about 1 us.

    Different salts draw independently. A keyed hash, since ids that count up must spread evenly, too.
    """
    found = hashlib.blake2b(request_id.encode(), digest_size=8, key=_key(salt))
    return min(int.from_bytes(found.digest()) * _SCALE, 99.999999999)


def bounds(
    split: Mapping[str, float], default: str, versions: Mapping[str, T]
) -> tuple[tuple[float, T], ...]:
    """The upper ends of the split's intervals on [0, 100), the default's last.

    So who answered from a canary goes on doing so while its share grows. A version that is not in `versions`
    leaves its share to the default.
    """
    found: list[tuple[float, T]] = []
    reached = 0.0
    for version in sorted(split, key=lambda version: (version == default, version)):
        if split[version] > 0 and version in versions and version != default:
            reached += split[version]
            found.append((reached, versions[version]))
    if not found:
        return ()
    if default in split or reached < 100 - 1e-6:
        return (*found, (100.0, versions[default]))
    return (*found[:-1], (100.0, found[-1][1]))


def pick(at: float, intervals: Iterable[tuple[float, T]], otherwise: T) -> T:
    """Whose interval `at` lies in."""
    for end, value in intervals:
        if at < end:
            return value
    return otherwise


def _key(salt: str) -> bytes:
    data = salt.encode()
    return data if len(data) <= hashlib.blake2b.MAX_KEY_SIZE else hashlib.sha256(data).digest()
