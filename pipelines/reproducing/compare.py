"""A rebuild beside the original: which files and metrics are the same, and where the ways parted."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from contract.bundle import FILES, Bundle, Environment
from contract.strict import decode_json

Values = dict[str, float | None]


def files(before: Bundle, after: Bundle) -> dict[str, bool]:
    """Name of each file of the bundle -> whether its bytes are the same."""
    return {name: before.manifest.files[name] == after.manifest.files[name] for name in FILES}


def metrics(before: Values, after: Values) -> dict[str, tuple[float | None, float | None]]:
    """The metrics that are not exactly equal, with both values; None where one is missing."""
    return {
        name: (before.get(name), after.get(name))
        for name in sorted({*before, *after})
        if name not in before or name not in after or before[name] != after[name]
    }


def read_metrics(path: Path) -> Values:
    """The metrics that a build left."""
    return decode_json(path.read_bytes(), Values, path.name)


def libraries(before: Environment, after: Environment) -> Iterator[str]:
    """One sentence for each library, Python included, whose version is another now."""
    was, now = ({"python": item.python, **item.libraries, **item.trained_with} for item in (before, after))
    for name in sorted({*was, *now}):
        if was.get(name) != now.get(name):
            yield f"{name} is {now.get(name, 'absent')} here and was {was.get(name, 'absent')}"


def partings(before: Path, after: Path, model: str) -> Iterator[str]:
    """What two dvc.lock files say of the model's stages, in order, up to the first whose outputs differ."""
    was, now = (_stages(path, model) for path in (before, after))
    for name in [*was, *(stage for stage in now if stage not in was)]:
        one, two = was.get(name), now.get(name)
        if one is None or two is None:
            yield f"stage {name} exists in one of the two builds only"
            continue
        inputs = list(_inputs(name, one, two))
        yield from inputs
        outputs = [path for path, changed in _changed(one, two, "outs") if changed]
        if outputs:
            if not inputs:
                yield f"{name} made another {', '.join(outputs)} from the same inputs"
            return


def _inputs(name: str, one: dict[str, Any], two: dict[str, Any]) -> Iterator[str]:
    for path, changed in _changed(one, two, "deps"):
        if changed:
            yield f"{name} read another {path}"
    for file in sorted({*one.get("params", {}), *two.get("params", {})}):
        ours, theirs = one.get("params", {}).get(file, {}), two.get("params", {}).get(file, {})
        for key in sorted({*ours, *theirs}):
            if ours.get(key) != theirs.get(key):
                yield f"{name} took {key} of {file} as {theirs.get(key)}, before as {ours.get(key)}"


def _changed(one: dict[str, Any], two: dict[str, Any], part: str) -> Iterator[tuple[str, bool]]:
    ours, theirs = ({item["path"]: item.get("md5") for item in stage.get(part, [])} for stage in (one, two))
    for path in sorted({*ours, *theirs}):
        yield path, ours.get(path) != theirs.get(path)


def _stages(path: Path, model: str) -> dict[str, Any]:
    plain = yaml.safe_load(path.read_text("utf-8"))
    stages = plain.get("stages", {}) if isinstance(plain, dict) else {}
    order = ("ingest", "validate", "split", "train", "evaluate", "gate", "package")
    mine = {name: stage for name, stage in stages.items() if name.endswith(f"@{model}")}
    # A lock lists stages as they first ran; a stage that is not known here comes last.
    rank = {
        name: order.index(word) if (word := name.partition("@")[0]) in order else len(order) for name in mine
    }
    return {name: mine[name] for name in sorted(mine, key=lambda name: (rank[name], name))}
