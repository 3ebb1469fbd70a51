"""Everything that answers at one moment, and which of it answers a given request."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from contract.strict import near_miss
from serving.models.desired import DesiredVersion
from serving.models.predictor import Predictor
from serving.models.traffic import draw, pick

NAME_LENGTH = 80  # of what a caller wrote, in a sentence


class NotServedError(LookupError):
    """Nobody answers to that name; the words say who does."""

    def __init__(self, sentence: str, field: str, found: str, expected: str) -> None:
        """Keep the sentence, and apart what was asked for: a model or a version, which, and who answers."""
        super().__init__(sentence)
        self.field, self.found, self.expected = field, found, expected


@dataclass(frozen=True)
class Served:
    """One version of a model that answers."""

    predictor: Predictor
    desired: DesiredVersion
    loaded_at: datetime

    @property
    def version(self) -> str:
        """Its name."""
        return self.predictor.version


@dataclass(frozen=True)
class ServedModel:
    """The versions of one model, and which of them answer."""

    default: Served
    versions: Mapping[str, Served]
    split: tuple[tuple[float, Served], ...] = ()  # upper ends on [0, 100); none: all to the default
    mirror: tuple[tuple[float, Served], ...] = ()  # percent of the requests, each by itself

    def routes_to(self, version: str) -> bool:
        """Whether requests that name no version may come to `version`."""
        if not self.split:
            return version == self.default.version
        return any(version == served.version for _, served in self.split)


@dataclass(frozen=True)
class Snapshot:
    """Everything that answers at one moment; replaced as a whole, never changed.

    Whoever holds one may finish with it what it began: a version that is unloaded lives until then.
    """

    generation: int = 0
    default: str = ""
    models: Mapping[str, Served] = field(default_factory=lambda: MappingProxyType({}))  # default versions
    routes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))  # claimed route to model
    refused: Mapping[str, str] = field(
        default_factory=lambda: MappingProxyType({})
    )  # MODEL@VERSION to sentence
    loaded: Mapping[str, ServedModel] = field(default_factory=lambda: MappingProxyType({}))

    def choose(self, model: str, version: str | None, request_id: str) -> Served:
        """Who answers a request to `model`: the named version, else the draw of the split, else the default.

        One request id goes one way as long as the split stays, in every worker.

        Raises:
            NotServedError: there is no such model or version.
        """
        found = self.loaded.get(model)
        if found is None:
            sentence = f"there is no model '{model[:NAME_LENGTH]}'"
            raise _not_served(sentence, "model", model, list(self.loaded))
        if version is not None:
            named = found.versions.get(version)
            if named is None:
                sentence = f"there is no version '{version[:NAME_LENGTH]}' of {model}"
                raise _not_served(sentence, "version", version, list(found.versions))
            return named
        if not found.split:
            return found.default
        return pick(draw(f"split/{model}", request_id), found.split, found.default)

    def mirrors(self, model: str, request_id: str) -> tuple[Served, ...]:
        """Who else is to answer a request that named no version, unseen by its caller."""
        found = self.loaded.get(model)
        if found is None or not found.mirror:
            return ()
        return tuple(
            served
            for share, served in found.mirror
            if draw(f"mirror/{model}/{served.version}", request_id) < share
        )


def _not_served(sentence: str, field: str, word: str, known: list[str]) -> NotServedError:
    hint = near_miss(word[:NAME_LENGTH], sorted(known))
    every = ", ".join(sorted(known)) or "none"
    found, expected = f"'{word[:NAME_LENGTH]}'{hint}", f"one of {every}"
    return NotServedError(f"{sentence}{hint}; known are {every}", field, found, expected)
