"""What a bundle's gates found, as a person reads it in MLflow."""

import re
from collections.abc import Iterable
from pathlib import Path

import msgspec

from contract.errors import BundleError, FlightlineError
from contract.verdict import Verdict
from pipelines.building.artifacts import read_json
from training.card import gate_table
from training.gates.verdict import Evidence

COLUMN = 5000  # characters of MLflow's column of descriptions
NOTICE_ROOM = 800  # of them, kept free for why a version was refused, which stands above all else
DESCRIPTION_LIMIT = COLUMN - NOTICE_ROOM
NOTICE = "> **Not promoted.** "
FIRST = "Evaluation"  # after the gates, what a person who promotes a version looks for
# Characters of a cell: seventeen rows leave room for the card.
CUT, CELL = ("value", "threshold", "reason"), 56
CARD_GATES = re.compile(r"\n## Gates\n.*?(?=\n## |\Z)", re.DOTALL)
GRAVEST = ("fail", "not applicable", "pass")


def read_evidence(bundle: Path) -> Evidence:
    """The verdicts and metrics in a verified bundle's `evidence.json`; a metric that is null is NaN.

    Raises:
        BundleError: the file is not evidence.
    """
    try:
        return read_json(bundle / "evidence.json", Evidence)
    except FlightlineError as error:
        raise BundleError(error.found, error.expected, "Run `dvc repro` again") from None


def without_front_matter(model_card: str) -> str:
    """The Markdown of a model card without the YAML above it, which MLflow would show as text."""
    return (model_card.removeprefix("---\n").partition("\n---\n")[2] or model_card).lstrip()


def tags(verdicts: Iterable[Verdict]) -> dict[str, str]:
    """`gate.Gxx` to verdict, for MLflow; of a gate that run and world both judge, the graver one."""
    found: dict[str, str] = {}
    for item in verdicts:
        known = found.get(f"gate.{item.code}", item.verdict)
        found[f"gate.{item.code}"] = min(known, item.verdict, key=GRAVEST.index)
    return found


def whole_card(model_card: str, verdicts: Iterable[Verdict]) -> str:
    """The model card as a run shows it: without its front matter, and with all gates instead of the run's."""
    first, *parts = CARD_GATES.sub("\n", without_front_matter(model_card)).strip().split("\n## ")
    table = gate_table(Evidence(tuple(sorted(verdicts, key=lambda item: item.code))))
    return "\n## ".join([f"{first.rstrip()}\n", f"Gates\n\n{table}\n", *parts]) + "\n"


def description(model_card: str, digest: str, verdicts: Iterable[Verdict]) -> str:
    """A version's description in Markdown: all gates, then the model card without its front matter and gates.

    The gates stand first, and their cells are cut, because MLflow's column has an end and the card is long.
    """
    body = CARD_GATES.sub("\n", without_front_matter(model_card)).strip()
    first, *parts = body.split("\n## ")
    # Stable: the evaluation moves to the front, the rest stays as the card has it.
    parts.sort(key=lambda part: not part.startswith(f"{FIRST}\n"))
    body = "\n## ".join([first, *parts])
    short = [
        msgspec.structs.replace(item, **{name: _cut(getattr(item, name)) for name in CUT})
        for item in sorted(verdicts, key=lambda item: item.code)
    ]
    table = gate_table(Evidence(tuple(short)))
    text = f"**Bundle** `{digest[:12]}`\n\n## Gates\n\n{table}\n\n{body}\n"
    if len(text) <= DESCRIPTION_LIMIT:
        return text
    more = "\n\n… the whole card is `bundle/model_card.md` among the run's artifacts.\n"
    return text[: DESCRIPTION_LIMIT - len(more)] + more


def with_notice(text: str, reason: str) -> str:
    """The description `text` under the reason why its version was refused; under none where that is empty."""
    body = text.partition("\n\n")[2] if text.startswith(NOTICE) else text
    line = f"{NOTICE}{' '.join(reason.split())}"
    more = "… (whole in the tag promotion.refused)"
    if len(line) > NOTICE_ROOM - 2:
        line = line[: NOTICE_ROOM - 2 - len(more)] + more
    return f"{line}\n\n{body}" if reason else body


def _cut(text: str) -> str:
    return text if len(text) <= CELL else f"{text[: CELL - 1]}…"
