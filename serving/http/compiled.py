"""One version of a model, compiled from its contract: bytes into rows, rows into arrays, answers into bytes.

It accepts only what is perfectly good. Whatever else may be acceptable, and every sentence about what is
not, is the business of `bodies` and `rows`; both ways answer alike, byte for byte.
"""

import math
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
import numpy as np
from msgspec.structs import astuple
from numpy.typing import NDArray

from contract.schema import Contract, Feature
from serving.http.bodies import BATCH_ROWS, ID_LENGTH
from serving.http.oddities import Oddities, Packed
from serving.models.predictor import Predictor
from serving.recording.tally import Tally
from serving.rows import FLOAT32_MAX, Value

Row: TypeAlias = Any  # a struct: the numbers in the contract's order, and then the categories

Columns: TypeAlias = tuple[
    list[Any], ...
]  # of all rows: the numbers in the contract's order, then the categories

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=ID_LENGTH)]
_LONG = 8_192  # bytes
_COLON = re.compile(rb'"[ \t\r\n]*:')
_encode = msgspec.json.Encoder().encode


class Plan:
    """What answering with one predictor takes. Made once, when its first request comes."""

    def __init__(self, predictor: Predictor, tally: Tally) -> None:
        """Compile the contract of `predictor`; what it answers is counted in `tally`."""
        contract = predictor.contract
        self.predictor, self.contract, self.tally = predictor, contract, tally
        self.classes = contract.classes
        self.width = len(contract.features)
        row, many = _row_type(contract), msgspec.Meta(min_length=1, max_length=BATCH_ROWS)
        self.decode_one = _decoder("One", ("row", row), ("id", _Text | None, None), ("at", str | None, None))
        self.decode_many = _decoder(
            "Many",
            ("rows", Annotated[list[row], many]),  # type: ignore[valid-type]
            ("ids", list[_Text] | None, None),
            ("at", list[str] | None, None),
        )
        self.decode_columns = _decoder(
            "Columns",
            ("columns", _columns_type(contract)),
            ("ids", list[_Text] | None, None),
            ("at", list[str] | None, None),
        )
        self._row = row
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
        return [self._row(*values) for values in zip(*columns, strict=True)]

    def pack_columns(self, columns: Columns) -> Packed:
        """What `pack` makes of the same as rows."""
        count, numbers = len(columns[0]), len(self._numbers)
        exact = np.empty((count, numbers), np.float64)
        for index, values in enumerate(columns[:numbers]):
            exact[:, index] = np.fromiter(values, np.float64, count)
        categories = None
        if self._categories:
            categories = np.empty((count, len(self._categories)), np.object_)
            for index, values in enumerate(columns[numbers:]):
                categories[:, index] = values
            if self._nullable:
                categories[categories == None] = ""  # noqa: E711 - elementwise, as numpy has it
        return Packed(exact, exact.astype(np.float32), categories)

    def render_one(self, label: int, scores: bytes, request_id: bytes) -> bytes:
        """The answer of /predict; `scores` as `split_scores` cut them."""
        return self._one[label] % (*scores.split(b","), request_id)

    def render_many(self, labels: list[int], scores: list[bytes], request_id: bytes) -> bytes:
        """The answer of /predict_batch."""
        names, rows = b",".join(map(self._names.__getitem__, labels)), b"],[".join(scores)
        return b'{"predictions":[%b],"scores":[[%b]]%b%b"}' % (names, rows, self._many_end, request_id)


def split_scores(scores: NDArray[np.float32]) -> list[bytes]:
    """Each row's scores as the JSON numbers that the encoder writes, with commas between them.

    Raises:
        ArithmeticError: one of them is not finite.
    """
    text = _encode(scores.tolist())
    if b"null" in text:  # which it writes for NaN and infinity
        raise ArithmeticError("a score is not finite")
    return text[2:-2].split(b"],[")


def all_once(data: bytes, keys: int) -> bool:
    """Whether no key of `data` is repeated, where `keys` different ones were decoded; if in doubt, False.

    Each key has one colon. Where there are as few colons as keys, none can have been lost. Colons inside of
    texts only add, and are then told apart by the quote that goes before.
    """
    if len(data) > _LONG:  # where counting in a few vectors is worth beginning
        colons = int(np.count_nonzero(np.frombuffer(data, np.uint8) == ord(":")))
    else:
        colons = data.count(b":")
    return colons == keys or len(_COLON.findall(data)) == keys


def _row_type(contract: Contract) -> Any:
    """A struct with one required field a feature: the slow way judges, or completes, what is absent."""
    return _by_feature("Row", contract, _value_type)


def _columns_type(contract: Contract) -> Any:
    """The same of lists, a value a row."""
    most = msgspec.Meta(min_length=1, max_length=BATCH_ROWS)

    def values(feature: Feature) -> Any:
        return Annotated[list[_value_type(feature)], most]  # type: ignore[misc]  # a type made at run time

    return _by_feature("Values", contract, values)


def _by_feature(name: str, contract: Contract, kind: Callable[[Feature], Any]) -> Any:
    features = (*contract.numbers, *contract.categories)
    names = [f"f{index}" for index in range(len(features))]  # a feature may have any name
    return msgspec.defstruct(
        name,
        [(field, kind(feature)) for field, feature in zip(names, features, strict=True)],
        forbid_unknown_fields=True,
        rename=dict(zip(names, (feature.name for feature in features), strict=True)),
        gc=False,
    )


def _value_type(feature: Feature) -> Any:
    kind: Any
    if feature.kind == "number":
        low, high = -FLOAT32_MAX, FLOAT32_MAX
        if feature.out_of_range == "refuse":
            low = max(low, -math.inf if feature.minimum is None else feature.minimum)
            high = min(high, math.inf if feature.maximum is None else feature.maximum)
        kind = Annotated[float, msgspec.Meta(ge=low, le=high)]
    elif feature.categories and feature.unknown_category == "refuse":
        kind = Literal[tuple(name for name in feature.categories if name and "\0" not in name)]
    else:
        kind = Annotated[str, msgspec.Meta(min_length=1)]
    return kind | None if feature.nullable else kind


def _decoder(name: str, *fields: Any) -> Any:
    return msgspec.json.Decoder(msgspec.defstruct(name, fields, forbid_unknown_fields=True, gc=False)).decode


def _percent(text: bytes) -> bytes:
    return text.replace(b"%", b"%%")


def _literal(name: str) -> bytes:
    return _percent(_encode(name))
