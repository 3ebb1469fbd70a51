"""What a bundle's gates found, as a person reads it in MLflow."""

from pathlib import Path

from contract.errors import BundleError, FlightlineError
from pipelines.building.artifacts import read_json
from training.gates.verdict import Evidence

DESCRIPTION_LIMIT = 5000  # characters; the width of MLflow's column
FIRST = ("Gates", "Evaluation")  # what a person who promotes a version looks for


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


def description(model_card: str, digest: str) -> str:
    """A version's description in Markdown: the card's gates, its evaluation, then the rest as far as fits."""
    body = without_front_matter(model_card)
    parts = body.strip().split("\n## ")
    order = [part for title in FIRST for part in parts[1:] if part.startswith(f"{title}\n")]
    sections = [parts[0], *order, *(part for part in parts[1:] if part not in order)]
    text = f"**Bundle** `{digest[:12]}`\n\n" + "\n## ".join(sections) + "\n"
    if len(text) <= DESCRIPTION_LIMIT:
        return text
    more = "\n\n… the whole card is `bundle/model_card.md` among the run's artifacts.\n"
    return text[: DESCRIPTION_LIMIT - len(more)] + more
