"""Encodes long runs for the log, in the threads that answer them."""

import logging
import threading
from collections import OrderedDict

from contract.schema import Contract
from serving.recording.answered import Answered, Matrices
from serving.recording.dictionaries import Dictionaries
from serving.recording.encoded import LEAST_ROWS, Encoded, Features, encode_features

logger = logging.getLogger(__name__)


MOST_VERSIONS = 16  # whose words are kept: those that answered last


class Encoder:
    """That of one log. Any thread may ask."""

    def __init__(self) -> None:
        """Know no words yet."""
        self._dictionaries: OrderedDict[str, Dictionaries] = OrderedDict()  # by digest, the latest last
        self._choosing = threading.Lock()

    def features(self, digest: str, values: Matrices) -> Features | None:
        """The features of a run that is long enough, for `encoded`: best before the run."""
        if len(values) < LEAST_ROWS:
            return None
        try:
            return encode_features(values, self._words(digest, values.contract))
        except Exception:  # noqa: BLE001 - `encoded` meets it again, and says so
            return None

    def encoded(self, answered: Answered, features: Features | None = None) -> Encoded | None:
        """A long run for the log, with what was made of its features already."""
        values = answered.values
        if not isinstance(values, Matrices) or not Encoded.may_hold(answered):
            return None
        try:
            if features is None:
                features = encode_features(values, self._words(answered.digest, answered.contract))
            return Encoded(answered, features)
        except Exception:  # the caller gets the answer all the same; the log will count what it cannot hold
            logger.exception("a long run cannot be encoded")
            return None

    def _words(self, digest: str, contract: Contract) -> Dictionaries:
        with self._choosing:
            words = self._dictionaries.get(digest) or Dictionaries(contract)
            self._dictionaries[digest] = words
            self._dictionaries.move_to_end(digest)
            if len(self._dictionaries) > MOST_VERSIONS:
                self._dictionaries.popitem(last=False)
            return words
