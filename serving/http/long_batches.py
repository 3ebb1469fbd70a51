"""Long batches, in the thread beside the event loop: all that is done with so many rows, once decoded.

Whoever is answered in the loop meanwhile waits for nothing that a thousand rows take, and what one step made
is still in the processor's cache when the next one looks at it.
"""

import time
from typing import NamedTuple

from serving.http.compiled import Plan, spell_scores
from serving.http.oddities import JUDGED
from serving.http.waiting import Waiting, run
from serving.recording.answered import Answered, Matrices, Numbered
from serving.recording.encoded import Encoded
from serving.recording.prediction_log import PredictionLog
from serving.recording.tally import Found


class Finished(NamedTuple):
    """A long batch, up to what only the event loop may do."""

    body: bytes
    labels: dict[str, int]  # rows by class
    odd: Found
    answered: Answered
    encoded: Encoded | None  # for the log

    def tell(self, plan: Plan, seconds: float) -> None:
        """Add it to the counts of `plan`; the answer took so long."""
        tally = plan.tally
        tally.request(seconds)
        tally.add(self.labels)
        tally.later(JUDGED, self.odd, 1)


def finish(plan: Plan, waiting: Waiting, log: PredictionLog) -> Finished:
    """Have `waiting` answered.

    Raises:
        ArithmeticError: the model gave a score that is not finite.
    """
    packed = plan.pack_long(waiting.rows) if waiting.packed is None else waiting.packed
    odd = plan.oddities.judged(packed) if waiting.odd is None else waiting.odd
    if odd is None:
        raise ArithmeticError("a number is beyond what its decoder lets in")
    values = Matrices(plan.contract, packed.exact, packed.categories)
    features = log.encoder.features(plan.predictor.bundle.digest, values)
    ran = run(plan, packed)
    labels: list[int] = ran.labels.tolist()
    body = plan.render_long(labels, spell_scores(ran.scores), waiting.request_id.encode())
    seconds = time.perf_counter() - waiting.arrival.clock
    answered = ran.answered(plan, [waiting], Numbered(waiting.request_id, waiting.count), seconds)
    times = {name: labels.count(label) for label, name in enumerate(plan.classes)}
    return Finished(body, times, odd, answered, log.encoder.encoded(answered, features))
