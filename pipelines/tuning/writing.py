"""New values of hyperparameters in params.yaml, as text: comments, order and blank lines stay."""

import re
from pathlib import Path
from typing import Any

import yaml

from contract.errors import ConfigError
from pipelines.machine.files import replace

_KEY = re.compile(r"^(?P<indent> *)(?P<key>[\w.-]+):(?P<gap> *)(?P<value>[^#\n]*?)(?P<comment>(?: +#.*)?)$")


def write_params(path: Path, model: str, values: dict[str, Any]) -> bool:
    """Put `values` into `MODEL.train` of the file `path`; answers whether anything changed.

    Raises:
        ConfigError: the file does not have one plain line a hyperparameter.
    """
    before = path.read_text("utf-8")
    lines = before.split("\n")
    place: list[tuple[int, str]] = []  # the open mappings: indent and key
    left = dict(values)
    for number, line in enumerate(lines):
        match = _KEY.match(line)
        if not match:
            continue
        depth = len(match["indent"])
        place = [(indent, key) for indent, key in place if indent < depth]
        inside = [key for _, key in place]
        if inside == [model, "train"] and match["key"] in left:
            text = yaml_scalar(left.pop(match["key"]))
            lines[number] = f"{match['indent']}{match['key']}: {text}{match['comment']}"
        place.append((depth, match["key"]))
    after = "\n".join(lines)
    _require_only(before, after, path, model, values)
    if after != before:
        replace(path, after.encode())
    return after != before


def yaml_scalar(value: Any) -> str:
    """`value` as YAML reads it back: 1e-05 would be a string there, 1.0e-05 is a number."""
    return str(yaml.safe_dump(value)).partition("\n")[0]


def _require_only(before: str, after: str, path: Path, model: str, values: dict[str, Any]) -> None:
    """The new text means exactly the old one with the new values."""
    expected = yaml.safe_load(before)
    expected[model]["train"].update(values)
    if yaml.safe_load(after) != expected:
        raise ConfigError(
            f"{path} was not changed: {model}.train is not one plain `key: value` a line",
            "one line a hyperparameter",
            "Write the values by hand",
        )
