"""Images that a real engine builds, runs and removes (R5, R6)."""

import dataclasses
import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import msgspec
import pytest

from pipelines.delivery.registry import connect
from pipelines.delivery.releases import Release
from pipelines.image import image
from pipelines.images import making, retention, trying
from pipelines.images.declared import read_images
from pipelines.images.docker import Docker
from pipelines.images.making import MODEL, SERVING, UntestedError, make
from pipelines.images.records import IMAGE
from pipelines.images.trying import WRITABLE
from pipelines.images.tunnel import tunnel
from pipelines.images.workshop import Workshop
from pipelines.machine.settings import Settings
from pipelines.qualify import qualify
from pipelines.register import register
from pipelines.track import track
from tests.pipelines.delivery.conftest import running_mlflow
from tests.pipelines.images.conftest import quiet, registered
from tests.pipelines.images.spoiling import WAYS, Spoil
from tests.pipelines.stages.conftest import STAGES, run_stages, settings_into
from tests.serving.real import until

pytestmark = [pytest.mark.slow, pytest.mark.lengthy, pytest.mark.usefixtures("engine")]

NOTES = {"data": [[2.1, 4.5, 3.7, 5.2]]}  # the request of R8
ROW = {"width": 1.5, "height": 0.25, "letter": "A"}
# What somebody who got into a container would look for.
LOOK = """
import importlib.util, json, os, shutil
modules = ("sklearn", "mlflow", "polars", "dvc", "training", "pipelines", "pip")
programs = ("gcc", "cc", "make", "pip", "uv", "git", "curl")
print(json.dumps({
    "modules": [name for name in modules if importlib.util.find_spec(name)],
    "programs": [name for name in programs if shutil.which(name)],
    "writable": [path for path in ("/", "/opt/flightline", "/release") if os.access(path, os.W_OK)],
    "keys": os.path.exists("/trust"),
    "user": os.getuid(),
}))
"""
LIMITS = ("--network=none", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")


@pytest.fixture(scope="module")
def place(engine: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """One place for this file: what a server needs is installed once."""
    settings = Settings.from_environment({"FLIGHTLINE_VAR": str(tmp_path_factory.mktemp("place") / "var")})
    return Workshop(read_images(engine), settings, quiet)


@pytest.fixture
def build(place: Workshop, tmp_path: Path) -> Callable[..., Release]:
    """A release that verifies in that place."""
    made: list[Release] = []
    (tmp_path / "var").write_text(str(place.settings.var))  # for whoever makes another one beside it

    def one(**more: Any) -> Release:
        made.append(registered(place.settings, tmp_path / str(len(made)), **more))
        return made[-1]

    return one


@contextmanager
def running(name: str, trust: Path, *words: str) -> Iterator[str]:
    """The URL of a container that may do as little as one under test."""
    docker, container = Docker(), "flightline-looked-at"
    folders = [f"--tmpfs={folder}:uid=10001,gid=10001,mode=0700" for folder in WRITABLE]
    mounts = (f"--mount=type=bind,readonly,source={readable(trust)},target=/trust/trust.json", *words)
    docker.call("run", "--detach", "--name", container, *LIMITS, *folders, *mounts, name)
    try:
        with tunnel(container) as url:
            until(lambda: httpx.get(f"{url}/readyz", trust_env=False).is_success, 60, "a ready service")
            yield url
    finally:
        docker.remove_container(container)


def readable(path: Path) -> Path:
    """A copy that everybody may read, as the user of a container is nobody here."""
    copy = path.with_name(f"public-{path.name}")
    copy.write_bytes(path.read_bytes())
    path.parent.chmod(0o755)
    copy.chmod(0o644)
    return copy


def test_one_flow_leads_from_training_to_a_tested_image(tmp_path: Path) -> None:
    """Trained, qualified, registered, built, tested, named, recorded; a second time not built again (R5)."""
    folder = settings_into(tmp_path / "run")
    run_stages(folder, *STAGES)
    moment = datetime(2013, 4, 1, 12, tzinfo=UTC)
    with running_mlflow(tmp_path / "var") as settings:
        track("iris", settings, folder / "artifacts", quiet)
        qualify("iris", settings, folder / "artifacts")
        version = register("iris", settings, folder / "artifacts", quiet)
        done = image("iris@challenger", settings, at=moment, say=quiet)
        again = image(f"iris@{version.version}", settings, say=quiet)
        tag = json.loads(connect(settings).by_number("iris", version.version).tags[IMAGE])
    record = done.record
    assert (record.result, record.created, record.digest) == ("released", True, version.digest)
    assert {"golden answers", "identity", "documented examples"} <= {check.name for check in record.checks}
    assert all(check.passed for check in record.checks)
    assert (again.record.created, again.record.id) == (False, record.id)
    assert (tag["name"], tag["id"], tag["at"]) == (record.name, record.id, "2013-04-01T12:00:00+00:00")
    kept = json.loads((settings.var / "images" / "iris" / f"{version.version}.json").read_bytes())
    assert (kept["id"], kept["at"], len(kept["checks"])) == (record.id, tag["at"], len(record.checks))
    with running(record.name, settings.trust) as url:
        answer = httpx.post(f"{url}/predict/label", json=NOTES, trust_env=False)
    assert answer.json() == {"prediction": "virginica"}


def test_the_same_generic_image_serves_different_models(
    place: Workshop, build: Callable[..., Release], tmp_path: Path
) -> None:
    """A loader, which is the same image, fetches into a shared volume what variables name (R6)."""
    used, answers = set(), {}
    for model, seed in (("loaded-a", 1), ("loaded-b", 2)):
        release = build(model=model, seed=seed)
        generic = make(release, "1", place).serving
        used.add(place.docker.image(generic).id)
        volume, trust = tmp_path / model, readable(place.settings.trust)
        volume.mkdir()
        volume.chmod(0o777)
        mounts = (
            f"--mount=type=bind,readonly,source={release.path},target=/storage",
            f"--mount=type=bind,source={volume},target=/releases",
            f"--mount=type=bind,readonly,source={trust},target=/trust/trust.json",
        )
        load = ("python", "-m", "serving.loader", "--from=/storage", "--to=/releases/release")
        said = place.docker.call("run", "--rm", *LIMITS, *mounts, generic, *load)
        assert release.bundle.digest in said
        words = (
            f"--mount=type=bind,readonly,source={volume},target=/releases",
            "--env=FLIGHTLINE_BUNDLE=/releases/release",
        )
        with running(generic, place.settings.trust, *words) as url:
            answer = httpx.post(f"{url}/predict", json={"row": ROW}, trust_env=False).json()
        assert (answer["model"], answer["digest"]) == (model, release.bundle.digest)
        answers[model] = answer["scores"]
    assert len(used) == 1
    assert answers["loaded-a"] != answers["loaded-b"]


@pytest.mark.parametrize(("spoil", "sentence"), WAYS, ids=[spoil.__name__ for spoil, _ in WAYS])
def test_a_broken_image_gets_no_name(
    place: Workshop,
    build: Callable[..., Release],
    monkeypatch: pytest.MonkeyPatch,
    *,
    spoil: Spoil,
    sentence: str,
) -> None:
    """It is refused with what was seen; neither image, nor container, nor a candidate's tag is left."""
    model = spoil.__name__.replace("_", "-")
    release = build(model=model)
    with monkeypatch.context() as patch, pytest.raises(UntestedError, match=sentence):
        make(spoil(release, patch), "1", place)
    assert place.docker.labelled(f"{MODEL}={model}") == []
    assert place.docker.image(f"{SERVING}:candidate") is None
    assert place.docker.call("ps", "--all", "--quiet") == ""
    made = make(release, "1", place)  # the same model, unspoilt
    assert made.image.tags == (f"flightline-{model}:1",)
    place.docker.remove(made.name)


def test_an_interrupt_leaves_nothing(
    place: Workshop, build: Callable[..., Release], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the middle of the suite: no container, no candidate, no name."""
    release = build(model="interrupted")

    def interrupt(*_: object) -> None:
        assert place.docker.call("ps", "--quiet")
        raise KeyboardInterrupt

    monkeypatch.setattr(trying, "run_smoke", interrupt)
    with pytest.raises(KeyboardInterrupt):
        make(release, "1", place)
    assert place.docker.labelled(f"{MODEL}=interrupted") == []
    assert place.docker.call("ps", "--all", "--quiet") == ""


def test_without_any_image_the_release_makes_the_same_again(
    place: Workshop, build: Callable[..., Release]
) -> None:
    """The model file is kept outside (R5); without a cache every layer comes out equal."""
    release = build(model="again", seed=4)
    first = make(release, "1", place)
    for found in (*place.docker.labelled(making.CODE), *place.docker.labelled(making.CODE)):
        for name in found.tags or (found.id,):
            place.docker.remove(name)
    assert place.docker.labelled(making.CODE) == []
    second = make(release, "1", place)
    assert second.created
    assert second.image.layers == first.image.layers


def test_models_share_all_layers_but_one(place: Workshop, build: Callable[..., Release]) -> None:
    """A further model costs its own files, once more on the disk and over the wire."""
    one, other = (make(build(model=f"shares-{seed}", seed=seed), "1", place).image for seed in (1, 2))
    assert one.layers[:-1] == other.layers[:-1]
    assert one.layers[-1] != other.layers[-1]
    generic = place.docker.image(make(build(model="shares-1", seed=1), "1", place).serving)
    assert generic is not None
    assert 0 < one.size - generic.size < 1_000_000


def test_old_images_are_removed_and_needed_ones_stay(
    place: Workshop, build: Callable[..., Release], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond `keep`; not what a rollback needs, nor what a container runs from."""
    releases = [build(model="many", seed=seed) for seed in range(4)]
    names = [make(release, str(number), place).name for number, release in enumerate(releases, start=1)]
    monkeypatch.setattr(retention, "kept", lambda _: frozenset({releases[0].bundle.digest}))
    registry: Any = SimpleNamespace(aliases=lambda _: {}, versions=lambda _: [])
    strict = dataclasses.replace(place, images=msgspec.structs.replace(place.images, keep=1))
    container = place.docker.call("create", names[1]).strip()
    try:
        pruned = retention.prune("many", registry, strict)
        assert pruned.removed == (names[2],)
        assert set(pruned.stays) == {names[0], names[3]}
        assert len(pruned.unwilling) == 1
        assert names[1] in pruned.unwilling[0]
    finally:
        place.docker.remove_container(container)
    assert retention.prune("many", registry, strict).removed == (names[1],)
    assert [place.docker.image(name) is not None for name in names] == [True, False, False, True]


def test_the_image_holds_a_server_and_nothing_to_attack_with(
    place: Workshop, build: Callable[..., Release]
) -> None:
    """No training library, compiler, installer or key; no address or word of an index in its history (R1)."""
    made = make(build(model="bare"), "1", place)
    found = json.loads(place.docker.call("run", "--rm", "--network=none", made.name, "python", "-c", LOOK))
    assert found == {"modules": [], "programs": [], "writable": [], "keys": False, "user": 10001}
    history = place.docker.call("history", "--no-trunc", made.name).lower()
    for word in ("index", "token", "password", "secret", "@http", str(place.settings.var)):
        assert word not in history


def test_health_is_readiness(place: Workshop, build: Callable[..., Release]) -> None:
    """What Docker and Compose call healthy: the server's own word, asked in the container."""
    made = make(build(model="healthy"), "1", place)
    found = json.loads(place.docker.call("image", "inspect", made.name))[0]["Config"]["Healthcheck"]["Test"]
    with running(made.name, place.settings.trust):
        place.docker.call("exec", "flightline-looked-at", *found[1:])
    idle = place.docker.call("run", "--detach", "--network=none", made.name, "sleep", "60").strip()
    try:
        done = subprocess.run(
            ["docker", "exec", idle, *found[1:]], capture_output=True, check=False, timeout=60
        )
        assert done.returncode == 1
    finally:
        place.docker.remove_container(idle)
