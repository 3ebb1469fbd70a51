"""The words of a model's columns, numbered as they come up, for pages that hold numbers in their place."""

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from contract.log_layout import FEATURE_PREFIX, log_kinds
from contract.schema import Contract
from serving.recording import columns
from serving.recording.columns import MOST_WORDS, Part

LONGEST = 64  # characters of a word: each file of the log holds all of them


class Dictionary:
    """The words of a column. It only grows: a page that was encoded with it stays right."""

    def __init__(self, words: Sequence[str]) -> None:
        """Begin with those that are known."""
        self.words = list(words[:MOST_WORDS])
        self._index = {word: index for index, word in enumerate(self.words)}
        self._growing = threading.Lock()
        self._parts: tuple[int, tuple[Part, ...]] = 0, ()

    def indices(self, values: Sequence[str]) -> NDArray[np.uint8] | None:
        """That of each of `values`; None where one has no room."""
        try:
            return np.frombuffer(bytes(map(self._index.__getitem__, values)), np.uint8)
        except KeyError:
            return self.indices(values) if self._learn(values) else None

    def _learn(self, values: Sequence[str]) -> bool:
        with self._growing:
            new = sorted(set(values) - self._index.keys())
            if len(self.words) + len(new) > MOST_WORDS or not all(map(_has_room, new)):
                return False
            self.words += new
            self._index.update({word: index for index, word in enumerate(self.words)})
            return True

    def parts(self) -> tuple[tuple[Part, ...], int]:
        """The words, encoded, and how many they are."""
        count = len(self.words)
        if self._parts[0] != count:
            self._parts = count, columns.strings(self.words[:count])
        return self._parts[1], count


class Dictionaries:
    """Those of one contract, by column."""

    def __init__(self, contract: Contract) -> None:
        """Begin with what the contract says."""
        self._of = {name: Dictionary([]) for name, kind in log_kinds(contract).items() if kind == "text"}
        self._of["label"] = Dictionary(contract.classes)
        for feature in contract.categories:
            self._of[FEATURE_PREFIX + feature.name] = Dictionary(feature.categories)

    def __getitem__(self, name: str) -> Dictionary:
        """The words of a column of texts."""
        return self._of[name]


def _has_room(word: str) -> bool:
    """Whether the files of the log may hold it: one that cannot be written would spoil all of them."""
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return len(word) <= LONGEST
