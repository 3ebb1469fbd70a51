"""Every bad input by its name, but for those that need a socket: `wire.py`, `admin.py`.

Who adds a route adds a module with its own `CASES` here.
"""

from collections.abc import Mapping

from tests.serving.http.bad_inputs import (
    addresses,
    events,
    headers,
    json_text,
    shapes,
    v2_bytes,
    v2_tensors,
    values,
)
from tests.serving.http.bad_inputs.form import Bad

MODULES = (json_text, shapes, values, headers, addresses, events, v2_tensors, v2_bytes)


def collect(tables: tuple[Mapping[str, Bad], ...]) -> dict[str, Bad]:
    """One table of several.

    Raises:
        ValueError: two of them use one name, and one case would hide the other.
    """
    whole: dict[str, Bad] = {}
    for table in tables:
        if again := whole.keys() & table.keys():
            raise ValueError(f"named twice: {', '.join(sorted(again))}")
        whole.update(table)
    return whole


CASES = collect(tuple(module.CASES for module in MODULES))
