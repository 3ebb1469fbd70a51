"""Docker's command line, called with lists of words, each call with a time limit; its refusals as sentences.

The engine is the one that DOCKER_HOST or the current context of the command line names.
"""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any

from contract.errors import ConfigError, FlightlineError

CALL_S = 60.0  # for one call that neither builds, pulls nor pushes
LONG_S = 900.0
# The builder that every engine has. It needs no plug-in, and `FROM` finds an image that was never pushed.
ALWAYS = {"DOCKER_BUILDKIT": "0"}


@dataclass(frozen=True)
class Image:
    """An image of the engine."""

    id: str
    tags: tuple[str, ...]
    labels: Mapping[str, str]
    user: str
    layers: tuple[str, ...]  # sha256 of each, the base first
    size: int  # bytes, with the layers that it shares
    pushed: tuple[str, ...]  # REPOSITORY@DIGEST, where it was pushed to or pulled from


@dataclass(frozen=True)
class Docker:
    """An engine."""

    def call(
        self, *words: str, stdin: IO[bytes] | None = None, seconds: float = CALL_S, errors: bool = False
    ) -> str:
        """What `docker WORDS` prints; with `errors` on standard error, too.

        Raises:
            ConfigError: there is no such command.
            FlightlineError: it fails or does not end.
        """
        try:
            done = subprocess.run(
                ["docker", *words],
                stdin=stdin or subprocess.DEVNULL,
                capture_output=True,
                timeout=seconds,
                check=False,
                env={**ALWAYS, **os.environ},
            )
        except FileNotFoundError:
            raise ConfigError(
                "docker is not installed", "its command line and an engine", "Install docker.io or docker-ce"
            ) from None
        except subprocess.TimeoutExpired:
            raise FlightlineError(
                f"docker {words[0]} did not end within {seconds:.0f} s",
                "an answer",
                "Look whether the engine answers (docker info), then run this again",
            ) from None
        text, said = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        if done.returncode != 0:
            raise refusal(words[0], said, text)
        return text + said if errors else text

    def architecture(self) -> str:
        """The engine's, such as x86_64 or aarch64.

        Raises:
            FlightlineError: no engine answers.
        """
        return self.call("info", "--format", "{{.Architecture}}").strip()

    def image(self, name: str) -> Image | None:
        """The image of that tag or id; None where there is none."""
        try:
            text = self.call("image", "inspect", name)
        except NoSuchError:
            return None
        return _image(json.loads(text)[0])

    def labelled(self, label: str) -> list[Image]:
        """All images with a label, NAME or NAME=VALUE."""
        found = self.call("image", "ls", "--quiet", "--no-trunc", f"--filter=label={label}").split()
        images = (self.image(name) for name in dict.fromkeys(found))
        return [image for image in images if image is not None]

    def build(self, context: IO[bytes], tag: str, file: str, arguments: Mapping[str, str]) -> None:
        """Build the tar archive `context` with its Dockerfile `file` as `tag`. No step has a network.

        Raises:
            FlightlineError: a step fails; with what it said last.
        """
        words = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
        options = ("--network=none", "--pull=false", "--force-rm", f"--tag={tag}", f"--file={file}")
        self.call("build", *options, *words, "-", stdin=context, seconds=LONG_S)

    def tag(self, name: str, tag: str) -> None:
        """Give an image another name."""
        self.call("image", "tag", name, tag)

    def remove(self, name: str) -> None:
        """Take a tag away, and with its last tag the image; one that is not there is no fault.

        Raises:
            FlightlineError: a container uses it.
        """
        try:
            self.call("image", "rm", name)
        except NoSuchError:
            return

    def remove_container(self, name: str) -> None:
        """Stop a container at once and remove it; one that is not there is no fault."""
        try:
            self.call("container", "rm", "--force", "--volumes", name)
        except NoSuchError:
            return


class NoSuchError(FlightlineError):
    """The engine has no image or container of that name."""


def refusal(verb: str, stderr: str, stdout: str = "") -> FlightlineError:
    """What docker said, as what a person can act on."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    text = (lines or ["it did not say why"])[-1].removeprefix("Error response from daemon: ")
    everything = " ".join(lines)
    if "No such image" in everything or "No such container" in everything:
        return NoSuchError(f"docker {verb}: {text[:300]}", "a name that the engine knows", "Correct it")
    if "permission denied" in everything and "docker" in everything and "sock" in everything:
        return FlightlineError(
            f"this user may not talk to Docker's engine ({text[:200]})",
            "an engine of this user's",
            "Add the user to the group docker, or name another engine with DOCKER_HOST",
        )
    if "Cannot connect to the Docker daemon" in everything or "failed to connect" in everything:
        return FlightlineError(
            f"no Docker engine answers ({text[:200]})", "a running one", "Start it, or set DOCKER_HOST"
        )
    if verb == "build":
        said = [line.strip() for line in stdout.splitlines() if line.strip()]
        last = next((line for line in reversed(said) if not line.startswith(("--->", "Step "))), "")
        text = f"{text[:300]} ({last[:300]})" if last and last not in text else text[:300]
        return FlightlineError(f"docker build: {text}", "an image", "Correct what it says")
    return FlightlineError(
        f"docker {verb}: {text[:300]}", "that it does as it is told", "Correct what it says"
    )


def _image(found: Mapping[str, Any]) -> Image:
    config = found["Config"] or {}
    return Image(
        id=found["Id"],
        tags=tuple(found.get("RepoTags") or ()),
        labels=dict(config.get("Labels") or {}),
        user=config.get("User") or "",
        layers=tuple(found["RootFS"].get("Layers") or ()),
        size=int(found["Size"]),
        pushed=tuple(found.get("RepoDigests") or ()),
    )
