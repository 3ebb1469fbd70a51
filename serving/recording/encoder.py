"""Encodes long runs for the log, in the threads that answer them."""

import logging
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

from serving.recording.answered import Answered, Matrices
from serving.recording.dictionaries import Dictionaries
from serving.recording.encoded import LEAST_ROWS, Encoded, Features, encode_features

T = TypeVar("T")
A = TypeVarTuple("A")

logger = logging.getLogger(__name__)


class Encoder:
    """That of one log. Any thread may ask."""

    def __init__(self) -> None:
        """Know no words yet."""
        self._dictionaries: dict[str, Dictionaries] = {}  # by digest

    def features(self, digest: str, values: Matrices) -> Features | None:
        """The features of a run that is long enough, for `encoded`: best before the run."""
        if len(values) < LEAST_ROWS:
            return None
        words = self._dictionaries.get(digest)
        if words is None:  # of two threads that see this, one's words are used from now on
            words = self._dictionaries.setdefault(digest, Dictionaries(values.contract))
        return _unless_it_fails(encode_features, values, words)

    def encoded(self, answered: Answered, features: Features | None = None) -> Encoded | None:
        """A long run for the log, with what was made of its features already."""
        values = answered.values
        if not isinstance(values, Matrices) or not Encoded.may_hold(answered):
            return None
        features = features or self.features(answered.digest, values)
        return None if features is None else _unless_it_fails(Encoded, answered, features)


def _unless_it_fails(encode: Callable[[*A], T], *arguments: *A) -> T | None:
    """The caller gets the answer all the same; the log will say what it cannot hold."""
    try:
        return encode(*arguments)
    except Exception:
        logger.exception("a long run cannot be encoded")
        return None
