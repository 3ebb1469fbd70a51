"""Whether a window is fit to be learnt from: bad data is quarantined and reported, never trained on."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import polars as pl

from contract.predictions import FEATURE_PREFIX, log_schema
from contract.schema import Contract
from monitoring.policy import HealthPolicy
from monitoring.statistics import feature_statistics, score_statistics

Code = Literal["schema", "model", "missing", "unknown", "range", "duplicates", "scores"]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a window, as a sentence with its numbers."""

    code: Code
    column: str
    found: float  # share of rows; 1 for a wrong column
    limit: float  # the share that would have been tolerated
    sentence: str


@dataclass(frozen=True)
class Health:
    """The verdict on a window's data."""

    rows: int
    problems: tuple[Problem, ...]

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    @property
    def sentences(self) -> tuple[str, ...]:
        """What is wrong, for `Evidence.problems`."""
        return tuple(problem.sentence for problem in self.problems)


def data_health(
    reference: pl.DataFrame, window: pl.DataFrame, contract: Contract, policy: HealthPolicy
) -> Health:
    """Judge `window` (layout `log_schema`) against `contract` and the `reference` (`feature.NAME` columns).

    A wrong schema is the only answer where there is one, since nothing else can be computed from it.
    """
    problems = tuple(_schema(window, contract))
    if not problems and window.height >= policy.min_rows:
        problems = (*_rows(window, contract, policy), *_features(reference, window, contract, policy))
    return Health(window.height, problems)


def _schema(window: pl.DataFrame, contract: Contract) -> Iterator[Problem]:
    expected = log_schema(contract)
    for name, kind in expected.items():
        found = window.schema.get(name)
        if found is None:
            yield Problem("schema", name, 1.0, 0.0, f"column {name} is missing from the prediction log")
        elif found != kind:
            yield Problem("schema", name, 1.0, 0.0, f"column {name} has type {found}, not {kind}")
    for name in window.columns:
        if name not in expected:
            yield Problem("schema", name, 1.0, 0.0, f"column {name} is not in the contract")


def _rows(window: pl.DataFrame, contract: Contract, policy: HealthPolicy) -> Iterator[Problem]:
    foreign = 1 - int((window["model"] == contract.model).sum()) / window.height
    if foreign:
        sentence = f"{foreign:.1%} of rows are not predictions of {contract.model}"
        yield Problem("model", "model", foreign, 0.0, sentence)
    # What was asked about, where the caller said so: asking about it again is another request, and no news.
    subjects = window.select(pl.coalesce("entity_id", "request_id")).to_series()
    repeated = 1 - subjects.n_unique() / window.height
    if repeated > policy.duplicates:
        sentence = f"{repeated:.1%} of rows repeat an entity_id (at most {policy.duplicates:.1%})"
        yield Problem("duplicates", "entity_id", repeated, policy.duplicates, sentence)
    for name in contract.classes:
        invalid = score_statistics(window, name, contract).invalid
        if invalid:
            sentence = f"{invalid:.1%} of the scores of {name} are not a {contract.scores}"
            yield Problem("scores", f"score.{name}", invalid, 0.0, sentence)


def _features(
    reference: pl.DataFrame, window: pl.DataFrame, contract: Contract, policy: HealthPolicy
) -> Iterator[Problem]:
    for feature in contract.features:
        seen = reference[FEATURE_PREFIX + feature.name]
        known = feature.categories
        if feature.kind == "category" and not known:
            known = tuple(seen.drop_nulls().unique().to_list())
        was = feature_statistics(reference, feature, known)
        now = feature_statistics(window, feature, known)
        judged: tuple[tuple[Code, str, float, float, float], ...] = (
            ("missing", "missing", was.missing, now.missing, policy.missing_increase),
            ("unknown", "of an unknown category", was.unknown, now.unknown, policy.unknown_increase),
            ("range", "out of range", was.out_of_range, now.out_of_range, policy.range_increase),
        )
        for code, word, before, share, increase in judged:
            if share > before + increase:
                sentence = (
                    f"{feature.name} is {word} in {share:.1%} of rows "
                    f"(reference {before:.1%}, at most {increase:.1%} more)"
                )
                yield Problem(code, FEATURE_PREFIX + feature.name, share, before + increase, sentence)
