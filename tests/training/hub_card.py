"""The shape that Hugging Face documents for a model card's front matter, as strict types.

Keys: https://github.com/huggingface/hub-docs/blob/main/modelcard.md (required ones as marked there), and
`pipeline_tag` from https://huggingface.co/docs/hub/model-cards. Licenses: the identifiers of
https://huggingface.co/docs/hub/repositories-licenses that models here may have.
"""

from typing import Annotated, Any, Literal

import msgspec

Id = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][\w.-]*(/[\w.-]+)?$")]
Word = Annotated[str, msgspec.Meta(min_length=1)]
License = Literal["apache-2.0", "mit", "bsd-3-clause", "cc0-1.0", "odbl", "other"]
Finite = Annotated[float, msgspec.Meta(ge=-1e300, le=1e300)] | int  # YAML's .nan is within no bounds


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    """No other keys."""


class Task(Strict):
    """What was asked."""

    type: Id
    name: str = ""


class Dataset(Strict):
    """What it was asked about."""

    type: Id
    name: Word
    config: str = ""
    split: str = ""
    revision: str = ""
    args: dict[str, Any] = {}


class Metric(Strict):
    """What came of it."""

    type: Id
    value: Finite
    name: str = ""
    config: str = ""
    args: dict[str, Any] = {}
    verified: bool = False


class Source(Strict):
    """Where the figures are from."""

    url: Word
    name: str = ""


class Result(Strict):
    """One evaluation."""

    task: Task
    dataset: Dataset
    metrics: list[Metric]
    source: Source | None = None


class Indexed(Strict):
    """The evaluations of one model."""

    name: Word
    results: Annotated[list[Result], msgspec.Meta(min_length=1)]


class Front(Strict, rename={"model_index": "model-index"}):
    """The whole front matter."""

    language: list[Annotated[str, msgspec.Meta(pattern="^[a-z]{2,3}$")]]
    library_name: Word
    pipeline_tag: Literal["tabular-classification", "tabular-regression"]
    tags: list[Word]
    metrics: list[Id]
    model_index: list[Indexed]
    license: License | None = None
    license_name: str = ""
    license_link: str = ""
    datasets: list[Id] = []
    base_model: str = ""

    def __post_init__(self) -> None:
        """A license of one's own needs a name and a place."""
        if self.license == "other" and not (self.license_name and self.license_link):
            raise ValueError("license other needs license_name and license_link")


def check(front: dict[str, Any]) -> Front:
    """The front matter as its types.

    Raises:
        msgspec.ValidationError: it has another shape; the sentence names the place.
    """
    return msgspec.convert(front, Front)
