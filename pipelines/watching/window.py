"""The window of a check in numbers: kept as data, and said in a few lines."""

import math
from collections.abc import Iterator
from pathlib import Path

from contract.strict import encode_json
from monitoring.statistics import FeatureStatistics, ScoreStatistics, WindowStatistics
from pipelines.machine.files import replace

FILE = "statistics.json"
_BARS = " ▁▂▃▄▅▆▇█"
_MOST = 3  # inputs that are named, the worst


def keep(folder: Path, found: WindowStatistics) -> Path:
    """Write all of `found` to `folder`; what there is no value of is null."""
    path = folder / FILE
    replace(path, encode_json(found), mode=0o644)  # for others to look at, as the page beside it
    return path


def lines(found: WindowStatistics) -> Iterator[tuple[str, str]]:
    """What a person wants to know first, each with its name. Shares are of rows."""
    for score in found.scores:
        yield f"score {score.name}", _score(score)
    inputs = found.features
    yield "missing", _worst([(item.missing, item) for item in inputs])
    yield "out of range", _worst([(item.out_of_range, item) for item in inputs])
    yield "unknown", _worst([(item.unknown, item) for item in inputs])
    yield "latency", f"median {found.latency_p50:.2f} ms, p99 {found.latency_p99:.2f} ms"


def _score(score: ScoreStatistics) -> str:
    if math.isnan(score.mean):
        return f"none is finite; {score.invalid:.1%} invalid"
    return (
        f"mean {score.mean:.3f}, median {score.median:.3f}, {score.minimum:.3f} to {score.maximum:.3f}, "
        f"deviation {score.deviation:.3f}, {score.invalid:.1%} invalid  [{_bars(score.counts)}]"
    )


def _bars(counts: tuple[int, ...]) -> str:
    """The histogram in one line; a bin that is not empty is seen, however small."""
    most = max(*counts, 1)
    return "".join(_BARS[math.ceil(count / most * (len(_BARS) - 1))] for count in counts)


def _worst(shares: list[tuple[float, FeatureStatistics]]) -> str:
    some = sorted((-share, item.name) for share, item in shares if share)
    if not some:
        return f"in none of {len(shares)} inputs"
    named = ", ".join(f"{name} {-share:.1%}" for share, name in some[:_MOST])
    return f"in {len(some)} of {len(shares)} inputs, most in {named}"
