"""Releases that verify, as if registered, and a place in which images are made of them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from contract.attestation import sign
from contract.statements import Provenance, Qualification
from pipelines.delivery.keys import ensure_keys, private_key
from pipelines.delivery.releases import Release, open_release
from pipelines.images.declared import read_images
from pipelines.images.workshop import Workshop
from pipelines.machine.settings import Settings
from tests.conftest import make_release
from tests.pipelines.images.engine import running_engine

COMMIT = "c" * 40


def quiet(_: str) -> None:
    """Say nothing."""


def registered(settings: Settings, folder: Path, model: str = "toy", seed: int = 0, **more: Any) -> Release:
    """A release with all that the trainer attests, by the key that `settings` trust."""
    ensure_keys(settings.keys)
    key = private_key(settings.keys, "trainer")
    made = make_release(folder, model=model, seed=seed, key=key, **more)
    about = {"model": model, "digest": made.digest}
    accepted = Qualification(
        **about, outcome="accepted", champion="", held_out="0" * 64, reasons=(), verdicts=()
    )
    origin = Provenance(
        **about,
        commit=COMMIT,
        dirty=False,
        dvc_lock="",
        run_id="run",
        registered_at="2013-04-01T00:00:00+00:00",
        registered_by="ada",
    )
    for kind, statement in (("qualification", accepted), ("provenance", origin)):
        (made.path / "attestations" / f"{kind}.json").write_bytes(sign(statement, kind, key))
    return open_release(made.path, model, made.digest, settings)


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    """A place of a test's own; its engine is that of the environment."""
    settings = Settings.from_environment({"FLIGHTLINE_VAR": str(tmp_path / "var")})
    return Workshop(read_images(), settings, quiet)


@pytest.fixture
def release(shop: Workshop, tmp_path: Path) -> Callable[..., Release]:
    """`registered` in that place."""
    made: list[Release] = []

    def make(**more: Any) -> Release:
        made.append(registered(shop.settings, tmp_path / "releases" / str(len(made)), **more))
        return made[-1]

    return make


@pytest.fixture(scope="session")
def engine() -> Iterator[dict[str, str]]:
    """An engine that every docker of this session speaks to, with a base image: the variables of both."""
    with running_engine() as variables, pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield variables
