"""A host whose versions a test changes."""

from typing import Any

import msgspec

from serving.models import changes
from serving.models.desired import DesiredModel, read_acks, read_desired, write_desired

ROW = {"width": 1.5, "height": 0.25, "letter": "A"}


class Service:
    """A host, and changes of what it is to serve."""

    def __init__(self, host: Any, build: Any) -> None:
        """Keep both; the host serves version 1 of `toy`, or nothing."""
        self.host, self.build = host, build
        self.releases = {"1": host.wanted["toy"].digest} if host.wanted else {}

    def change(self, name: str, *arguments: Any, **named: Any) -> None:
        """Make one of `changes`, and let the host act on it."""
        before = read_desired(self.host.settings.state)
        after = getattr(changes, name)(before, "toy", *arguments, **named)
        write_desired(
            self.host.settings.state, msgspec.structs.replace(after, generation=before.generation + 1)
        )
        self.host.versions.poll()

    def load(self, version: str, release: Any = None, **named: Any) -> Any:
        """Load a release, by default another training of `toy`."""
        release = release or self.build(seed=int(version))
        self.releases[version] = release.digest
        self.change("load", version, str(release.path), release.digest, **named)
        return release

    def ask(self, query: str = "", request_id: str = "one") -> Any:
        """One prediction."""
        return self.host.client.post(f"/predict{query}", {"row": ROW}, **{"X-Request-Id": request_id})

    def exchange(self, version: str, release: Any) -> None:
        """Desire `release` in the place of all others."""
        before = read_desired(self.host.settings.state)
        model = DesiredModel.of(version, str(release.path), release.digest)
        after = msgspec.structs.replace(before, generation=before.generation + 1, models={"toy": model})
        write_desired(self.host.settings.state, after)
        self.host.versions.poll()

    @property
    def refused(self) -> dict[str, str]:
        """What the worker's acknowledgement says of refusals."""
        return read_acks(self.host.settings.state)[self.host.versions.worker].refused
