"""A contract whose features are completed from the online store, and what happens to its flights."""

import msgspec

from contract.schema import Contract, Feature, Lookup
from serving.features.facts import microseconds
from serving.features.store import Event
from tests.training.worlds import past

SEATS = Feature(
    "seats", "number", "", "batch", lookup=Lookup("planes", ("tail",), "seats"), stale_after_minutes=60
)
DELAY = Feature("delay", "number", "", "stream", aggregate=past("mean"), stale_after_minutes=30)
RATE = Feature("rate", "number", "", "batch", nullable=True, aggregate=past("mean", 600, by=("flight",)))
CONTRACT = Contract(
    model="toy",
    features=(
        Feature("origin", "category", ""),
        msgspec.structs.replace(DELAY, nullable=True),
        RATE,
        msgspec.structs.replace(SEATS, nullable=True),
    ),
    target="",
    classes=("a", "b"),
    scores="probability",
)
STRICT = msgspec.structs.replace(CONTRACT, features=(CONTRACT.features[0], DELAY, RATE, SEATS))
KEYS = {"flight": 7, "tail": "N1"}


def departure(number, at, delay):
    """A departure of flight 7 from JFK."""
    return Event(f"e{number}", "departures", microseconds(at), {"origin": "JFK", "flight": 7, "delay": delay})
