"""What is declared about images: `infra/images.yaml`, read strictly."""

import os
from collections.abc import Mapping
from typing import Annotated

import msgspec

from contract.strict import convert
from pipelines.building.config import read_yaml
from pipelines.machine.settings import ROOT

BASE_VARIABLE = "FLIGHTLINE_BASE_IMAGE"

Dotted = Annotated[str, msgspec.Meta(pattern=r"^\d+\.\d+$")]


class Images(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What images stand on, what a container under test may take, and how many images stay."""

    base: Annotated[str, msgspec.Meta(min_length=1)]
    python: Dotted
    glibc: Dotted
    memory: Annotated[str, msgspec.Meta(pattern=r"^[1-9]\d*[kmg]$")]
    ready_s: Annotated[float, msgspec.Meta(gt=0, le=600)]
    keep: Annotated[int, msgspec.Meta(ge=1, le=1_000)]  # images of a model, the newest versions


def read_images(variables: Mapping[str, str] | None = None) -> Images:
    """The declaration, with FLIGHTLINE_BASE_IMAGE applied.

    Raises:
        ConfigError: the file cannot be read, or a key is unknown, missing or unusable.
    """
    path = ROOT / "infra" / "images.yaml"
    declared = convert(read_yaml(path), Images, path.name)
    given = (os.environ if variables is None else variables).get(BASE_VARIABLE, "")
    return msgspec.structs.replace(declared, base=given) if given else declared
