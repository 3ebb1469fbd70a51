"""Whether an image serves its model, found out before it gets the name that anybody would deploy.

The container has what a strict cluster gives it, and less: no root, no writable file but its own folders, no
capability, no network. All that a service must show after a deployment is asked of it over HTTP.
"""

import hashlib
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import httpx

from pipelines.delivery.registry import STAGING
from pipelines.delivery.releases import Release
from pipelines.delivery.smoke import run_smoke
from pipelines.images.declared import Images
from pipelines.images.docker import Docker, Image
from pipelines.images.tunnel import tunnel
from pipelines.images.workshop import Workshop
from pipelines.machine.files import scratch
from pipelines.machine.settings import Settings
from pipelines.staging.checks import Check, Found, answer, checked, expect
from pipelines.staging.examples import examples

How = Literal["in the image", "loaded"]
POLL_S = 0.2
# A release does not become a better one: a service that gives the same reason for so long is not waited for.
PATIENCE_S = 2.0
LOADING = "being loaded"  # the one reason that goes away by itself
ONE_REQUEST_S = 10.0
# Megabytes of each writable folder; a container writes nowhere else.
WRITABLE = {"/state": 128, "/predictions": 64, "/tmp": 64}  # noqa: S108 - a folder of the container


@dataclass(frozen=True)
class Trial:
    """What is to be tried: an image, the release that it should answer for, and where that comes from."""

    image: str
    release: Release
    version: str
    how: How


def try_image(trial: Trial, shop: Workshop) -> tuple[Check, ...]:
    """Every check of one image; those that were not begun after a failure are not there."""
    bundle, version = trial.release.bundle, trial.version
    found = [checked("user", partial(_user, shop.docker, trial.image))]
    if not found[0].passed:  # it is not even started
        return tuple(found)
    with _container(trial, shop) as name, tunnel(name) as url:
        found.append(checked("starts", partial(_starts, url, name, shop)))
        if found[-1].passed:
            found += run_smoke(url, bundle, version, shop.settings.environment(STAGING).smoke)
            with httpx.Client(base_url=url, timeout=ONE_REQUEST_S, trust_env=False) as client:
                found.append(checked("documented examples", partial(examples, client, bundle, version)))
                found.append(checked("identity", partial(_identity, client, trial)))
    return tuple(found)


def runs_as(image: Image) -> tuple[str, str]:
    """The numeric user and group of an image that does not run as root.

    Raises:
        Found: it does, or may: a name is looked up in the image, where it may mean 0.
    """
    user, _, group = image.user.partition(":")
    if not (user.isdecimal() and int(user) > 0 and (group or "1").isdecimal()):
        raise Found(f"the image runs as '{image.user or 'root'}', not as a number above 0")
    return user, group or user


def _user(docker: Docker, name: str) -> str:
    image = docker.image(name)
    if image is None:
        raise Found(f"there is no image {name}")
    return f"user {':'.join(runs_as(image))}"


@contextmanager
def _container(trial: Trial, shop: Workshop) -> Iterator[str]:
    """The name of a container that has just been started; removed at the end, whatever happens."""
    docker, settings = shop.docker, shop.settings
    image = docker.image(trial.image)
    user, group = runs_as(image) if image else ("", "")
    # One name for each place: what a killed run left behind is found by it and removed.
    name = "flightline-trial-" + hashlib.sha256(str(settings.var).encode()).hexdigest()[:12]
    with scratch(settings.var / "images") as folder:
        words = [*_limits(shop.images, f"uid={user},gid={group}"), *_given(trial, folder, settings)]
        docker.remove_container(name)
        try:
            docker.call("run", "--detach", "--name", name, *words, trial.image)
            yield name
        finally:
            docker.remove_container(name)


def _limits(images: Images, owner: str) -> Iterator[str]:
    """What the container may not do."""
    yield from ("--network=none", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")
    yield from ("--pids-limit=256", f"--memory={images.memory}")
    for folder, megabytes in WRITABLE.items():
        yield f"--tmpfs={folder}:rw,nosuid,nodev,noexec,mode=0700,size={megabytes}m,{owner}"


def _given(trial: Trial, folder: Path, settings: Settings) -> Iterator[str]:
    """The keys to believe, and what names the release where the image does not hold it.

    Copies, since ours may be read by their owner alone, and the container's user is somebody else.
    """
    (folder / "trust").mkdir()
    shutil.copyfile(settings.trust, folder / "trust" / "trust.json")
    yield f"--mount=type=bind,readonly,source={folder / 'trust'},target=/trust"
    if trial.how == "loaded":
        shutil.copytree(trial.release.path, folder / "release", copy_function=shutil.copyfile)
        yield f"--mount=type=bind,readonly,source={folder / 'release'},target=/storage/release"
        yield "--env=MODEL_URI=file:///storage/release"
        yield f"--env=MODEL_DIGEST={trial.release.bundle.digest}"
        yield f"--env=MODEL_VERSION={trial.version}"
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _starts(url: str, name: str, shop: Workshop) -> str:
    """Wait until the service says that it is ready."""
    begun, wait_s = time.monotonic(), shop.images.ready_s
    said, since = "it did not answer", begun
    with httpx.Client(base_url=url, timeout=ONE_REQUEST_S, trust_env=False) as client:
        while time.monotonic() - begun < wait_s:
            try:
                response = client.get("/readyz")
            except httpx.TransportError:
                if shop.docker.call("inspect", "--format={{.State.Running}}", name).strip() != "true":
                    raise Found(f"the container ended: {_last_words(name, shop.docker)}") from None
            else:
                if response.is_success:
                    return f"ready after {time.monotonic() - begun:.1f} s"
                reason, now = " ".join(response.text.split())[:400], time.monotonic()
                if reason != said or LOADING in reason:
                    said, since = reason, now
                if now - since > PATIENCE_S:
                    raise Found(said)
            threading.Event().wait(POLL_S)
    raise Found(f"not ready within {wait_s:.0f} s: {said[:300]}")


def _last_words(name: str, docker: Docker) -> str:
    said = docker.call("logs", "--tail=5", name, errors=True).splitlines()
    return next((line.strip()[:300] for line in reversed(said) if line.strip()), "it said nothing")


def _identity(client: httpx.Client, trial: Trial) -> str:
    """What the service says that it serves, by the Open Inference Protocol and by its own list."""
    bundle, version = trial.release.bundle, trial.version
    metadata = answer(client.get(f"/v2/models/{bundle.model}"))
    expect(client.get(f"/v2/models/{bundle.model}/versions/{version}/ready"), 200)
    listed = answer(client.get("/models"))["models"]
    found = (metadata["name"], metadata["versions"], {name: one["versions"] for name, one in listed.items()})
    expected = (bundle.model, [version], {bundle.model: {version: bundle.digest}})
    if found != expected:
        raise Found(f"it says that it serves {found[0]} {found[1]} of {found[2]}, not {expected[2]}")
    return f"{bundle.model} version {version}, {bundle.digest[:12]}"


def failures(checks: Sequence[Check]) -> str:
    """The checks that failed, with what was seen; empty where all passed."""
    return "; ".join(f"{check.name} ({check.seen})" for check in checks if not check.passed)
