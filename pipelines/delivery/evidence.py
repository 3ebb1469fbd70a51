"""What a bundle's gates found, as a person reads it in MLflow."""

from pathlib import Path

from contract.errors import BundleError, FlightlineError
from pipelines.building.artifacts import read_json
from training.gates.verdict import Evidence

DESCRIPTION_LIMIT = 5000  # characters; the width of MLflow's column


def read_evidence(bundle: Path) -> Evidence:
    """The verdicts and metrics in a verified bundle's `evidence.json`; a metric that is null is NaN.

    Raises:
        BundleError: the file is not evidence.
    """
    try:
        return read_json(bundle / "evidence.json", Evidence)
    except FlightlineError as error:
        raise BundleError(error.found, error.expected, "Run `dvc repro` again") from None


def description(model_card: str, digest: str) -> str:
    """A version's description in Markdown: the model card, gate table included, without its front matter."""
    body = model_card.removeprefix("---\n").partition("\n---\n")[2] or model_card
    text = f"**Bundle** `{digest[:12]}`\n\n{body.strip()}\n"
    if len(text) <= DESCRIPTION_LIMIT:
        return text
    more = "\n\n… the whole card is `bundle/model_card.md` among the run's artifacts.\n"
    return text[: DESCRIPTION_LIMIT - len(more)] + more
