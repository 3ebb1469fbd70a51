"""Where the stored features of one contract come from, and by which keys of a row they are found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from contract.schema import Contract, Feature, Lookup
from contract.strict import near_miss
from serving.features.facts import Fact, Key, microseconds
from serving.features.groups import Group, Plan, plans
from serving.rows import NAME_LENGTH, Problem

KEY_LENGTH = 200  # characters
KEY_BITS = 63
KEY_EXPECTED = f"a string of up to {KEY_LENGTH} characters, a whole number or null"


class Records(NamedTuple):
    """Features that are looked up in one table by one key."""

    table: str
    by: tuple[str, ...]
    values: tuple[tuple[str, str], ...]  # feature, value of the record


class Wanted(NamedTuple):
    """One look-up: a place in `Origins.sources`, a key (None where a part of it is null), and a moment."""

    source: int
    key: Key | None
    moment: int  # microseconds


@dataclass(frozen=True)
class Origins:
    """The stored features of a contract, by what is looked up together."""

    number: int  # of this object: part of what a cache calls its values
    contract: Contract
    sources: tuple[Plan | Records, ...]
    source_of: dict[str, int]  # feature -> its place in `sources`
    stored: tuple[Feature, ...]
    keys: frozenset[str]  # that a caller sends beside a row
    groups: dict[str, Group]  # of `sources`, by id
    streams: tuple[str, ...]  # that they read

    def wanted(
        self, row: Any, keys: Any, at: datetime, place: str, problems: list[Problem]
    ) -> dict[int, Wanted | None]:
        """The look-ups that `row` needs by place in `sources`; None where a key is not said.

        What is wrong with `keys` goes to `problems`.
        """
        sent = self._sent(keys, place, problems)
        if not isinstance(row, dict):
            return {}
        sources = {self.source_of[feature.name] for feature in self.stored if feature.name not in row}
        moment = microseconds(at)
        return {source: self._wanted(source, row, sent, moment) for source in sources}

    def _sent(self, keys: Any, place: str, problems: list[Problem]) -> Mapping[str, Fact]:
        """The keys beside a row, as far as they can be keys."""
        if keys is None:
            return {}
        where = "keys" if place == "row" else place.replace("rows", "keys", 1)
        if not isinstance(keys, dict):
            problems.append(Problem(where, "no object", "an object of keys and values, or null"))
            return {}
        sent: dict[str, Fact] = {}
        for name, value in keys.items():
            if name not in self.keys:
                known = sorted(self.keys)
                hint = near_miss(name[:NAME_LENGTH], known)
                expected = f"only {', '.join(known)}" if known else "none"
                problems.append(Problem(f"{where}.{name[:NAME_LENGTH]}", "an unknown key" + hint, expected))
                break  # one is enough: a search for a near miss is slow
            if not _is_key(value):
                problems.append(Problem(f"{where}.{name}", _word(value), KEY_EXPECTED))
            else:
                sent[name] = value
        return sent

    def _wanted(
        self, source: int, row: dict[str, Any], sent: Mapping[str, Fact], moment: int
    ) -> Wanted | None:
        parts: list[Any] = []
        for name in self.sources[source].by:
            if name in self.keys and name not in sent:
                return None
            value = sent[name] if name in self.keys else row.get(name)
            if isinstance(value, float) and value.is_integer():  # a feature's 5.0 is 5, as JSON has it
                value = int(value)
            parts.append(value if _is_key(value) else None)  # else the row is refused where it is decoded
        return Wanted(source, None if None in parts else tuple(parts), moment)


def origins(number: int, contract: Contract) -> Origins:
    """Where the stored features of `contract` come from."""
    tables: dict[tuple[str, tuple[str, ...]], list[tuple[str, Lookup]]] = {}
    for feature in contract.features:
        if (spec := feature.lookup) is not None:
            tables.setdefault((spec.records, spec.by), []).append((feature.name, spec))
    sources: tuple[Plan | Records, ...] = (
        *plans(contract),
        *(
            Records(table, by, tuple((name, spec.value) for name, spec in specs))
            for (table, by), specs in sorted(tables.items())
        ),
    )
    groups = {plan.id: plan.group for plan in sources if isinstance(plan, Plan)}
    return Origins(
        number=number,
        contract=contract,
        sources=sources,
        source_of={name: place for place, source in enumerate(sources) for name in names(source)},
        stored=contract.stored,
        keys=frozenset(contract.keys),
        groups=groups,
        streams=tuple(sorted({group.stream for group in groups.values()})),
    )


def names(source: Plan | Records) -> Sequence[str]:
    """The features of a source."""
    if isinstance(source, Plan):
        return [feature.name for feature in source.features]
    return [name for name, _ in source.values]


def _is_key(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= KEY_LENGTH
    return value is None or (
        isinstance(value, int) and not isinstance(value, bool) and value.bit_length() <= KEY_BITS
    )


def _word(value: Any) -> str:
    if isinstance(value, str):
        return f"a string of {len(value)} characters"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a fraction" if isinstance(value, float) else "a huge number"
    return "an array" if isinstance(value, list) else "an object"
