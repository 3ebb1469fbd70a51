"""One inference of the protocol, whatever carried it: rows out of tensors, completed, predicted, logged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.schema import Contract
from serving.http.admission import Admission
from serving.http.answers import Answerer, Call
from serving.http.completing import Completing
from serving.models.predictor import Predictor
from serving.protocol.beside import Beside, When, is_beside, read_beside
from serving.protocol.columns import plain_rows
from serving.protocol.inputs import Given, one_sentence, read_features, refuse_repeated, to_rows
from serving.protocol.tensors import Tensor
from serving.rows import Rows, RowsRefusedError, decode_rows
from serving.settings import Clock


@dataclass(frozen=True)
class Question:
    """What a request brought, in the form of a contract."""

    given: Given
    beside: Beside
    received_at: datetime

    @property
    def rows(self) -> int:
        """How many."""
        return self.given.rows


class Inferring:
    """Answers questions by the rules of /predict."""

    def __init__(
        self, answerer: Answerer, completing: Completing, admission: Admission, clock: Clock = "wall"
    ) -> None:
        """`admission` bounds the rows at once; `clock` says whether a caller may name a moment."""
        self._answerer, self._completing, self._clock = answerer, completing, clock
        self.admission = admission

    def read(self, contract: Contract, tensors: Sequence[Tensor], parameters: Mapping[str, Any]) -> Question:
        """What a request says, from its tensors and its own parameters.

        Raises:
            RefusedError: 422.
        """
        when = When(datetime.now(UTC), self._clock)
        refuse_repeated(tensors)
        features = [tensor for tensor in tensors if not is_beside(contract, tensor.name)]
        others = [tensor for tensor in tensors if is_beside(contract, tensor.name)]
        given = read_features(contract, features, others)
        return Question(given, read_beside(contract, others, parameters, given.rows, when), when.now)

    async def answer(
        self, predictor: Predictor, question: Question, request_id: str, began: float
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Labels (rows,), indices into the classes, and scores (rows, classes).

        Raises:
            RefusedError: 422, a value is not as the contract says, or a stored one cannot be had.
            OverloadedError: there are too many rows at once.
        """
        beside = question.beside
        with self.admission.batch(question.rows):
            try:
                rows, keys, filled = await self._rows(predictor.contract, question)
            except RowsRefusedError as error:
                raise one_sentence(error) from None
            call = Call(request_id, began, question.received_at, beside.ids, beside.moments, keys, filled)
            return await self._answerer.run(predictor, rows, call)

    async def _rows(self, contract: Contract, question: Question) -> tuple[Rows, Any, Any]:
        """The checked rows, and the keys and names of filled features as the log has them."""
        given, beside = question.given, question.beside
        if not given.left_out and beside.keys is None:
            return to_rows(contract, given), None, None
        plain = plain_rows(contract, given.numbers, given.words, given.left_out)
        whole = await self._completing.whole(contract, list(plain), beside.keys, beside.moments)
        return decode_rows(contract, whole.rows), whole.keys, whole.filled
