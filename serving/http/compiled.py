"""One version of a model, compiled from its contract: bytes into rows, rows into arrays, answers into bytes.

It accepts only what is perfectly good. Whatever else may be acceptable, and every sentence about what is
not, is the business of `bodies` and `rows`; both ways answer alike, byte for byte.
"""

import struct
from typing import Any, TypeAlias

import msgspec
import numpy as np
from msgspec.structs import astuple
from numpy.typing import NDArray

from serving.http.decoders import Decoders
from serving.http.oddities import Oddities, Packed
from serving.models.predictor import Predictor
from serving.recording.tally import Tally
from serving.rows import Value

Row: TypeAlias = Any  # a struct: the numbers in the contract's order, and then the categories

Columns: TypeAlias = tuple[
    list[Any], ...
]  # of all rows: the numbers in the contract's order, then the categories

_encode = msgspec.json.Encoder().encode


class Plan:
    """What answering with one predictor takes. Made once, when its first request comes."""

    def __init__(self, predictor: Predictor, tally: Tally) -> None:
        """Compile the contract of `predictor`; what it answers is counted in `tally`."""
        contract = predictor.contract
        self.predictor, self.contract, self.tally = predictor, contract, tally
        self.classes = contract.classes
        self.width = len(contract.features)
        self.decoders = Decoders(contract)
        self._numbers, self._categories = contract.numbers, contract.categories
        self._nullable = any(feature.nullable for feature in self._categories)
        self.oddities = Oddities(contract)
        bundle = predictor.bundle
        identity = {"model": bundle.model, "version": predictor.version, "digest": bundle.digest}
        self.headers: list[tuple[bytes, bytes]] = [
            (b"content-type", b"application/json"),
            (b"x-model", bundle.model.encode("latin-1")),
            (b"x-model-version", predictor.version.encode("latin-1")),
            (b"x-model-digest", bundle.digest.encode("latin-1")),
        ]
        self.fields = b"".join(b"%b: %b\r\n" % field for field in self.headers)
        end = b"," + _encode(identity)[1:-1] + b',"request_id":"'
        scores = b",".join(_literal(name) + b":%b" for name in self.classes)
        self._one = [
            b'{"prediction":' + _literal(name) + b',"scores":{' + scores + b"}" + _percent(end) + b'%b"}'
            for name in self.classes
        ]
        self._many_end = b',"classes":' + _encode(list(self.classes)) + end
        self._names = [_encode(name) for name in self.classes]

    def pack(self, rows: list[Row]) -> Packed:
        """The graph's two matrices; missing is NaN and "", as `decode_rows` makes them."""
        count, numbers, words = len(rows), len(self._numbers), len(self._categories)
        values: list[Value] = []
        texts: list[Value] = []
        # A tuple a row goes as soon as it came: thousands that stay would have the collector look at them.
        for row in map(astuple, rows):
            values += row[:numbers]
            texts += row[numbers:]
        exact = np.fromiter(values, np.float64, count * numbers).reshape(count, numbers)
        categories = None
        if words:
            categories = np.fromiter(texts, np.object_, count * words).reshape(count, words)
        if categories is not None and self._nullable:
            categories[categories == None] = ""  # noqa: E711 - elementwise, as numpy has it
        return Packed(exact, exact.astype(np.float32), categories)

    def rows_of(self, columns: Columns) -> list[Row]:
        """The same as rows."""
        return [self.decoders.row(*values) for values in zip(*columns, strict=True)]

    def pack_long(self, rows: list[Row]) -> Packed:
        """What `pack` makes, the numbers column after column, as they are looked at and logged."""
        values: list[Value] = []
        for row in map(astuple, rows):
            values += row
        return self.pack_columns(tuple(values[index :: self.width] for index in range(self.width)))

    def pack_columns(self, columns: Columns) -> Packed:
        """What `pack_long` makes of the same as rows."""
        count, numbers = len(columns[0]), len(self._numbers)
        exact, doubles = np.empty((numbers, count), np.float64), struct.Struct(f"{count}d").pack
        for index, values in enumerate(columns[:numbers]):
            try:
                exact[index] = np.frombuffer(doubles(*values), np.float64)  # in half of the time
            except struct.error:  # there is a None, which is NaN
                exact[index] = np.fromiter(values, np.float64, count)
        categories = None
        if self._categories:
            categories = np.empty((count, len(self._categories)), np.object_)
            for index, values in enumerate(columns[numbers:]):
                categories[:, index] = values
            if self._nullable:
                categories[categories == None] = ""  # noqa: E711 - elementwise, as numpy has it
        return Packed(exact.T, exact.T.astype(np.float32, order="C"), categories)

    def render_one(self, label: int, scores: bytes, request_id: bytes) -> bytes:
        """The answer of /predict; `scores` as `split_scores` cut them."""
        return self._one[label] % (*scores.split(b","), request_id)

    def render_many(self, labels: list[int], scores: list[bytes], request_id: bytes) -> bytes:
        """The answer of /predict_batch."""
        return self.render_long(labels, b"[[%b]]" % b"],[".join(scores), request_id)

    def render_long(self, labels: list[int], scores: bytes, request_id: bytes) -> bytes:
        """The same with `scores` in one piece."""
        names = b",".join(map(self._names.__getitem__, labels))
        return b'{"predictions":[%b],"scores":%b%b%b"}' % (names, scores, self._many_end, request_id)


def spell_scores(scores: NDArray[np.float32]) -> bytes:
    """Scores (rows, classes) as JSON.

    Raises:
        ArithmeticError: one of them is not finite.
    """
    flat = iter(scores.ravel().tolist())
    text = _encode(list(zip(*[flat] * scores.shape[1], strict=True)))  # a list a row takes twice as long
    if b"null" in text:  # which it writes for NaN and infinity
        raise ArithmeticError("a score is not finite")
    return text


def split_scores(scores: NDArray[np.float32]) -> list[bytes]:
    """Each row's scores, with commas between them.

    Raises:
        ArithmeticError: one of them is not finite.
    """
    return spell_scores(scores)[2:-2].split(b"],[")


def _percent(text: bytes) -> bytes:
    return text.replace(b"%", b"%%")


def _literal(name: str) -> bytes:
    return _percent(_encode(name))
