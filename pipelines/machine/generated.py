"""The generated parts of a document: what stands between two markers is written by a command, never by hand.

A part begins with `<!-- generated: NAME -->` and ends with `<!-- end: NAME -->`, each on a line of its own.
"""

import re
from collections import Counter
from collections.abc import Mapping

from contract.errors import FlightlineError

_PART = re.compile(
    r"^<!-- generated: (?P<name>[\w.-]+) -->\n(?P<body>.*?)^<!-- end: (?P=name) -->$",
    re.MULTILINE | re.DOTALL,
)
_MARKER = re.compile(r"^<!-- (?:generated|end): (?P<name>[\w.-]+) -->$", re.MULTILINE)


def read_parts(text: str) -> dict[str, str]:
    """Name -> content of each part of a document.

    Raises:
        FlightlineError: a marker has no partner, or a name is there twice.
    """
    found = {match["name"]: match["body"].strip() for match in _PART.finditer(text)}
    markers, pairs = Counter(match["name"] for match in _MARKER.finditer(text)), Counter([*found, *found])
    if markers != pairs:
        odd = sorted(name for name in markers if markers[name] != pairs[name])
        raise FlightlineError(
            f"the markers of {', '.join(odd)} do not pair",
            "`<!-- generated: NAME -->` and `<!-- end: NAME -->` once each",
            "Correct them in the document",
        )
    return found


def fill(text: str, parts: Mapping[str, str]) -> str:
    """`text` with new content in each of `parts`; all else stays.

    Raises:
        FlightlineError: the document has no such part: a figure would be left out without a word.
    """
    absent = sorted(set(parts) - set(read_parts(text)))
    if absent:
        raise FlightlineError(
            f"the document has no place for {', '.join(absent)}",
            f"the line `<!-- generated: {absent[0]} -->` and its end",
            "Add the markers where the part is to stand",
        )

    def replaced(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in parts:
            return match[0]
        return f"<!-- generated: {name} -->\n{parts[name]}\n<!-- end: {name} -->"

    return _PART.sub(replaced, text)


def prose(text: str) -> str:
    """`text` without its generated parts."""
    return _PART.sub("", text)
