"""What the making, trying and removing of images have in common."""

from dataclasses import dataclass, field

from pipelines.images.declared import Images
from pipelines.images.docker import Docker
from pipelines.machine.processes import Say
from pipelines.machine.settings import Settings


@dataclass(frozen=True)
class Workshop:
    """An engine, what is declared about images, where this machine keeps things, and who is told."""

    images: Images
    settings: Settings
    say: Say = print
    docker: Docker = field(default_factory=Docker)
