"""The space that params.yaml declares, as optuna's distributions, and the values that are tried in it."""

from typing import TYPE_CHECKING, Any

import msgspec

from contract.errors import ConfigError
from pipelines.building.config import Search

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

DIGITS = 3  # significant digits of a tried number: what is tried is what a person would write down


def distributions(space: dict[str, Search], into: type[msgspec.Struct]) -> dict[str, "BaseDistribution"]:
    """One distribution a hyperparameter; whole numbers where the field of `into` is an `int`."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    whole = {field.name for field in msgspec.structs.fields(into) if field.type is int}
    found: dict[str, BaseDistribution] = {}
    for name, search in sorted(space.items()):
        if search.low is None or search.high is None:
            found[name] = CategoricalDistribution(search.choices)
        elif name in whole:
            found[name] = IntDistribution(int(search.low), int(search.high), log=search.log)
        else:
            found[name] = FloatDistribution(search.low, search.high, log=search.log)
    return found


def rounded(name: str, value: Any, space: dict[str, Search]) -> Any:
    """A suggested float with `DIGITS` significant digits, still within its bounds; anything else as it is."""
    search = space[name]
    if not isinstance(value, float) or search.low is None or search.high is None:
        return value
    return min(max(float(f"{value:.{DIGITS}g}"), search.low), search.high)


def require_inside(present: dict[str, Any], space: dict[str, Search], where: str) -> None:
    """The present values are the first trial, so the space must hold them.

    Raises:
        ConfigError: a present value is outside of what is searched.
    """
    for name, search in space.items():
        value = present[name]
        if search.low is None or search.high is None:
            inside, expected = value in search.choices, f"one of {', '.join(map(str, search.choices))}"
        else:
            inside = isinstance(value, int | float) and search.low <= value <= search.high
            expected = f"a value from {search.low:g} to {search.high:g}"
        if not inside:
            raise ConfigError(
                f"{where}: the present {name} is {value}, outside of what is searched",
                expected,
                "Widen tune.space, so that the present parameters can be compared",
            )
