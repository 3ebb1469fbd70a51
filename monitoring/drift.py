"""Whether a window's inputs and scores differ from the reference by more than its own noise.

The only module that imports Evidently, and only inside the function that needs it: the import takes seconds.
"""

import html
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import polars as pl

from contract.errors import ConfigError
from contract.predictions import FEATURE_PREFIX, SCORE_PREFIX
from contract.schema import Contract
from contract.strict import near_miss
from monitoring.calibration import calibrate
from monitoring.policy import DriftPolicy
from monitoring.psi import pool_rare, usable

Status = Literal["alarm", "quiet", "insufficient"]
_BINARY = 2


@dataclass(frozen=True)
class ColumnDrift:
    """One column against the reference."""

    column: str
    psi: float | None  # nats; None where a side has no usable value
    threshold: float
    drifted: bool
    counted: bool  # False for a seasonal feature, which is reported only


@dataclass(frozen=True)
class DriftResult:
    """The verdict on one window. `insufficient` is neither an alarm nor a clean bill."""

    status: Status
    reason: str
    columns: tuple[ColumnDrift, ...] = ()
    share_drifted: float = 0.0  # of the counted features
    rows: int = 0  # rows of the window that were compared
    html: str = ""  # Evidently's report, one self-contained page

    @property
    def alarm(self) -> bool:
        """Whether the window drifted."""
        return self.status == "alarm"


def drift_report(
    reference: pl.DataFrame,
    current: pl.DataFrame,
    contract: Contract,
    policy: DriftPolicy,
    thresholds: Mapping[str, float] | None = None,
    *,
    seed: int = 0,
) -> DriftResult:
    """Compare `current` (prediction log) with `reference` (`feature.NAME`, `score.CLASS`, `day`).

    `thresholds` are noise levels by column as `calibrate` answers them; without them they are computed here
    for the window's own number of days. The policy's `psi` is their floor. An alarm is a share of drifted
    features of at least `drifted_share`, or a drifted score.

    Raises:
        ConfigError: the policy calls a feature seasonal that the contract does not have.
    """
    seasonal = _seasonal(contract, policy)
    window_days = int(current["event_time"].drop_nulls().dt.date().n_unique())
    lack = _lack(reference, current, window_days, policy)
    if lack:
        return DriftResult("insufficient", lack, rows=current.height)
    text = [FEATURE_PREFIX + feature.name for feature in contract.categories]
    reference, current = pool_rare(reference, current, text, policy.rare_share)
    columns = compared_columns(contract)
    if thresholds is None:
        # Twice the rows, because calibration splits them: each side is then as large as in the comparison.
        thresholds = calibrate(
            _sample(reference, 2 * policy.max_rows, seed),
            columns,
            window_days,
            seed=seed,
            resamples=policy.resamples,
            quantile=policy.noise_quantile,
        )
    reference, current = (_sample(frame, policy.max_rows, seed) for frame in (reference, current))
    limits = {name: _limit(thresholds.get(name), policy.psi) for name in columns}
    full = [n for n in columns if not (usable(reference[n]).is_empty() or usable(current[n]).is_empty())]
    if not full:
        return DriftResult("insufficient", "no column has values on both sides", rows=current.height)
    found, page = _evidently(reference.select(full), current.select(full), limits, seasonal, policy)
    drifts = tuple(
        ColumnDrift(
            column=name,
            psi=found.get(name),
            threshold=limits[name],
            drifted=name in found and found[name] >= limits[name],
            counted=name not in seasonal,
        )
        for name in columns
    )
    return _verdict(drifts, policy, current.height, page)


def compared_columns(contract: Contract) -> list[str]:
    """Columns that drift looks at: every feature, and the scores (of two classes one, they mirror)."""
    classes = contract.classes[1:] if len(contract.classes) == _BINARY else contract.classes
    return [FEATURE_PREFIX + item.name for item in contract.features] + [SCORE_PREFIX + c for c in classes]


def _seasonal(contract: Contract, policy: DriftPolicy) -> set[str]:
    names = [feature.name for feature in contract.features]
    for name in policy.seasonal:
        if name not in names:
            raise ConfigError(
                f"drift: seasonal feature '{name}' is unknown{near_miss(name, names)}",
                f"features of {contract.model}",
                "Correct it in policy.yaml",
            )
    return {FEATURE_PREFIX + name for name in policy.seasonal}


def _lack(reference: pl.DataFrame, current: pl.DataFrame, window_days: int, policy: DriftPolicy) -> str:
    counted = (
        ("the window", current.height, policy.min_rows, "rows"),
        ("the window", window_days, policy.min_days, "days"),
        ("the reference", reference.height, policy.min_rows, "rows"),
        ("the reference", int(reference["day"].drop_nulls().n_unique()), max(4, 2 * policy.min_days), "days"),
    )
    lacking = [f"{who} has {n} of {least} {what}" for who, n, least, what in counted if n < least]
    return "too little to judge: " + ", ".join(lacking) if lacking else ""


def _sample(frame: pl.DataFrame, rows: int, seed: int) -> pl.DataFrame:
    return frame if frame.height <= rows else frame.sample(rows, seed=seed)


def _limit(noise: float | None, floor: float) -> float:
    return floor if noise is None or math.isnan(noise) else max(floor, noise)


def _evidently(
    reference: pl.DataFrame,
    current: pl.DataFrame,
    limits: Mapping[str, float],
    seasonal: set[str],
    policy: DriftPolicy,
) -> tuple[dict[str, float], str]:
    """Each column's PSI, and the page that shows it."""
    with warnings.catch_warnings():
        # Its dependencies' deprecations, and constant columns in its plots: none are ours to mend.
        warnings.simplefilter("ignore")
        from evidently import DataDefinition, Dataset, Report
        from evidently.presets import DataDriftPreset

        numbers = [name for name, kind in reference.schema.items() if kind.is_numeric()]
        texts = [name for name in reference.columns if name not in numbers]
        definition = DataDefinition(numerical_columns=numbers, categorical_columns=texts)
        # Scores and seasonal columns get summaries of their own, so that each summary's share is one the
        # verdict goes by: of the counted features, of the scores (any one), and of none.
        scores = [name for name in reference.columns if name.startswith(SCORE_PREFIX)]
        counted = [name for name in reference.columns if name not in {*seasonal, *scores}]
        groups = (
            (counted, policy.drifted_share),
            (scores, 1 / max(1, len(scores))),
            (sorted(seasonal & set(reference.columns)), 1.0),
        )
        report = Report(
            [
                DataDriftPreset(
                    columns=columns,
                    method="psi",
                    per_column_threshold={name: limits[name] for name in columns},
                    drift_share=share,
                )
                for columns, share in groups
                if columns
            ],
            include_tests=True,
        )
        snapshot = report.run(
            Dataset.from_pandas(_pandas(current), data_definition=definition),
            Dataset.from_pandas(_pandas(reference), data_definition=definition),
        )
        metrics = snapshot.dict()["metrics"]
        page = snapshot.get_html_str(as_iframe=False)
    found = {m["config"]["column"]: float(m["value"]) for m in metrics if "column" in m["config"]}
    return found, page


def _pandas(frame: pl.DataFrame) -> object:
    import pandas as pd

    # Its plots cannot show infinities, which its PSI leaves out anyway, nor Arrow's strings.
    numbers = pl.selectors.float()
    finite = frame.with_columns(pl.when(numbers.is_finite()).then(numbers))
    return pd.DataFrame({name: finite[name].to_numpy() for name in finite.columns})


def _verdict(drifts: tuple[ColumnDrift, ...], policy: DriftPolicy, rows: int, page: str) -> DriftResult:
    features = [d for d in drifts if d.counted and d.column.startswith(FEATURE_PREFIX)]
    drifted = [d for d in features if d.drifted]
    scores = [d for d in drifts if d.drifted and d.column.startswith(SCORE_PREFIX)]
    share = len(drifted) / len(features) if features else 0.0
    alarm = bool(scores) or (bool(drifted) and share >= policy.drifted_share)
    most = sorted([*scores, *drifted], key=lambda d: d.threshold / d.psi if d.psi else math.inf)[:3]
    named = "".join(f"; {d.column} has PSI {d.psi:.2f} (threshold {d.threshold:.2f})" for d in most)
    reason = (
        f"{len(drifted)} of {len(features)} features drifted (alarm from {policy.drifted_share:.0%}), "
        f"the score {'drifted' if scores else 'did not'}{named}"
    )
    status: Status = "alarm" if alarm else "quiet"
    return DriftResult(status, reason, drifts, share, rows, _with_banner(page, f"{status}: {reason}"))


def _with_banner(page: str, sentence: str) -> str:
    """The page with our verdict on top: Evidently's own summary counts the score as one column of many."""
    banner = f'<p style="font: 16px sans-serif; padding: 1em; margin: 0">{html.escape(sentence)}</p>'
    start, end, rest = page.partition("<body>")
    return start + end + banner + rest if end else banner + page
