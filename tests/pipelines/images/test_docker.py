"""What docker is told, what it says, and what a person hears of it."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from contract.errors import ConfigError, FlightlineError
from pipelines.images.docker import Docker, Image, NoSuchError, refusal
from pipelines.images.trying import runs_as
from pipelines.machine.settings import ROOT
from pipelines.staging.checks import Found


class Said:
    """A docker that answers what it is told to, and remembers what it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Take the place of every process that is started."""
        self.asked: list[list[str]] = []
        self.environment: dict[str, str] = {}
        self.code, self.out, self.err = 0, b"", b""
        monkeypatch.setattr(subprocess, "run", self.run)

    def run(self, command: list[str], **given: Any) -> subprocess.CompletedProcess[bytes]:
        """Answer."""
        self.asked.append(command)
        self.environment = given["env"]
        return subprocess.CompletedProcess(command, self.code, self.out, self.err)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Said:
    """One."""
    return Said(monkeypatch)


@pytest.mark.unit
def test_a_build_has_no_network_and_fetches_nothing(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    """The context comes by standard input; the builder is the one of every engine, unless somebody chose."""
    monkeypatch.delenv("DOCKER_BUILDKIT", raising=False)
    Docker().build(
        io.BytesIO(b""), "flightline-toy:candidate-1", "model.Dockerfile", {"MODEL": "toy; rm -rf /"}
    )
    words = said.asked[0]
    assert words[:2] == ["docker", "build"]
    assert words[-1] == "-"
    assert {"--network=none", "--pull=false", "--file=model.Dockerfile"} <= set(words)
    assert words[words.index("--build-arg") + 1] == "MODEL=toy; rm -rf /"  # one word, and no shell reads it
    assert said.environment["DOCKER_BUILDKIT"] == "0"
    monkeypatch.setenv("DOCKER_BUILDKIT", "1")
    Docker().build(io.BytesIO(b""), "a", "b", {})
    assert said.environment["DOCKER_BUILDKIT"] == "1"


@pytest.mark.unit
def test_an_image_is_read_as_the_engine_shows_it(said: Said) -> None:
    """Also one without a tag, a label or a user."""
    config = {"User": "10001:10001", "Labels": {"a": "b"}}
    shown = {"Id": "sha256:1", "RepoTags": ["x:1"], "Config": config, "Size": 5, "RootFS": {"Layers": ["l"]}}
    said.out = json.dumps([shown]).encode()
    assert Docker().image("x:1") == Image("sha256:1", ("x:1",), {"a": "b"}, "10001:10001", ("l",), 5, ())
    said.out = json.dumps([{"Id": "i", "Config": {}, "Size": 0, "RootFS": {}, "RepoTags": None}]).encode()
    assert Docker().image("x:1") == Image("i", (), {}, "", (), 0, ())
    said.code, said.err = 1, b"Error: No such image: x:1\n"
    assert Docker().image("x:1") is None
    Docker().remove("x:1")  # what is not there need not be removed


@pytest.mark.unit
@pytest.mark.parametrize("user", ["", "0", "root", "0:0", "flightline", "10001:root", "-1"])
def test_a_user_that_is_or_may_be_root_is_found(user: str) -> None:
    """A name means whatever the image's own list of users says."""
    with pytest.raises(Found, match="not as a number above 0"):
        runs_as(Image("", (), {}, user, (), 0, ()))


@pytest.mark.unit
def test_a_user_has_a_group() -> None:
    """Its own number, where none is told."""
    assert runs_as(Image("", (), {}, "10001", (), 0, ())) == ("10001", "10001")
    assert runs_as(Image("", (), {}, "10001:7", (), 0, ())) == ("10001", "7")


@pytest.mark.unit
@pytest.mark.parametrize(
    ("verb", "stderr", "sentence"),
    [
        (
            "info",
            "Cannot connect to the Docker daemon at unix:///run/docker.sock. Is the docker daemon running?",
            "no Docker engine answers (Cannot connect to the Docker daemon",
        ),
        (
            "info",
            "permission denied while trying to connect to the docker API at unix:///var/run/docker.sock",
            "this user may not talk to Docker's engine",
        ),
        ("pull", "Error response from daemon: manifest unknown", "docker pull: manifest unknown; expected"),
        ("image", "", "docker image: it did not say why"),
    ],
)
def test_what_docker_says_becomes_one_sentence(verb: str, stderr: str, sentence: str) -> None:
    """With a remedy, and without the engine's own preface."""
    found = str(refusal(verb, stderr))
    assert found.startswith(sentence)
    assert "\n" not in found


@pytest.mark.unit
def test_a_failed_build_says_what_its_step_said() -> None:
    """Not only the code that it ended with."""
    out = "Step 5/19 : RUN x\n ---> Running in 1\nthe base image has another Python than 3.11\n"
    found = str(refusal("build", "The command '/bin/sh -c x' returned a non-zero code: 1", out))
    assert "non-zero code: 1 (the base image has another Python than 3.11)" in found


@pytest.mark.unit
def test_something_else_that_is_missing_is_not_passed_over(said: Said) -> None:
    """Only an image or a container that is not there counts as removed."""
    said.code, said.err = 1, b"Error response from daemon: conflict: unable to remove repository reference"
    with pytest.raises(FlightlineError, match="conflict") as raised:
        Docker().remove("x:1")
    assert not isinstance(raised.value, NoSuchError)


@pytest.mark.unit
def test_a_docker_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to look at."""

    def hang(*_: object, **__: object) -> None:
        raise subprocess.TimeoutExpired("docker", 60)

    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(FlightlineError, match="docker info did not end within 60 s"):
        Docker().architecture()


def run(tmp_path: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a place of its own."""
    given = {"FLIGHTLINE_VAR": str(tmp_path / "var"), "HOME": str(tmp_path), **environment}
    command = [sys.executable, "-m", "pipelines.image", *words]
    return subprocess.run(
        command, cwd=ROOT, env=given, capture_output=True, text=True, check=False, timeout=60
    )


def test_without_docker_there_is_one_sentence(tmp_path: Path) -> None:
    """It names what to install; nothing is made, and nobody asks a registry first."""
    done = run(tmp_path, "iris@1", PATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("error: docker is not installed; expected its command line and an engine.")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "var").exists()


@pytest.mark.parametrize("words", [(), ("iris@1", "--prune", "iris")])
def test_exactly_one_thing_is_asked_for(tmp_path: Path, words: tuple[str, ...]) -> None:
    """An image, or the removal of old ones."""
    done = run(tmp_path, *words, PATH=str(tmp_path))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "expected MODEL@VERSION or --prune MODEL" in done.stderr


def test_help_has_an_example(tmp_path: Path) -> None:
    """`--help` says what the command is for and shows one call of it."""
    done = run(tmp_path, "--help", PATH=str(tmp_path))
    assert done.returncode == 0
    assert "example: python -m pipelines.image iris@challenger" in done.stdout


@pytest.mark.unit
def test_no_command_is_no_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The kind of refusal that a caller can tell apart."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"docker is not installed"):
        Docker().architecture()
