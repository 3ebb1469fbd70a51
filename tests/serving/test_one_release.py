"""A service that is started with one release: baked into its image, or fetched when it starts (R5, R6)."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contract.errors import ConfigError, FlightlineError
from serving.loader import fetch_named
from serving.models.desired import Desired, write_desired
from serving.models.source import FETCHED, Source
from serving.models.versions import Versions
from serving.settings import Settings
from tests.serving.processes import Process
from tests.serving.real import PYTHON, ROOT, free_port, until


def settings(folder: Path, **values: str) -> Settings:
    """Settings with a state folder and a trust list in `folder`, and `values` of the environment."""
    folders = {
        "FLIGHTLINE_STATE": str(folder / "state"),
        "FLIGHTLINE_TRUST": str(folder / "releases" / "trust.json"),
    }
    return Settings.from_environment({**folders, **values})


def variables(how: str, release: Any) -> dict[str, str]:
    """How `release` is named to the service."""
    if how == "baked":
        return {"FLIGHTLINE_BUNDLE": str(release.path)}
    return {"MODEL_URI": release.path.as_uri()}


@pytest.fixture
def versions() -> Iterator[list[Versions]]:
    """What a test has made, closed at its end."""
    made: list[Versions] = []
    yield made
    for one in made:
        one.close()


@pytest.mark.unit
@pytest.mark.parametrize("how", ["baked", "fetched"])
def test_the_release_is_served_without_a_desired_state(tmp_path, make_bundle, versions, how) -> None:
    """One code for both: verified, warmed, the only version, called by its digest."""
    release = make_bundle()
    made = Versions(settings(tmp_path, **variables(how, release)))
    versions.append(made)
    assert not made.ready
    assert made.reason == "its release is being loaded"  # it needs no desired state, so it misses none
    made.poll()
    assert made.ready
    served = made.current.choose("toy", None, "any")
    assert served.predictor.bundle.digest == release.digest
    assert served.version == release.digest[:12]
    where = tmp_path / "state" / FETCHED / release.digest if how == "fetched" else release.path
    assert served.desired.release == str(where)


@pytest.mark.unit
@pytest.mark.parametrize("how", ["baked", "fetched"])
def test_version_and_digest_may_be_told(tmp_path, make_bundle, versions, how) -> None:
    """A version with the name that the registry has for it; another bundle than that digest is refused."""
    release = make_bundle()
    told = {**variables(how, release), "MODEL_VERSION": "7", "MODEL_DIGEST": release.digest}
    made = Versions(settings(tmp_path, **told))
    versions.append(made)
    made.poll()
    assert made.current.models["toy"].version == "7"
    other = Versions(settings(tmp_path / "other", **told | {"MODEL_DIGEST": "0" * 64}))
    shutil.copytree(release.path.parent, tmp_path / "other" / "releases")
    versions.append(other)
    other.poll()
    assert not other.ready
    assert "expected digest 000000000000" in other.reason


@pytest.mark.unit
def test_a_release_that_is_there_late_is_fetched_when_it_comes(tmp_path, make_bundle, versions) -> None:
    """Not ready meanwhile, with the reason; no restart is needed."""
    release = make_bundle()
    away = tmp_path / "away"
    release.path.rename(away)
    made = Versions(settings(tmp_path, MODEL_URI=release.path.as_uri()))
    versions.append(made)
    made.poll()
    assert not made.ready
    assert "is not a folder" in made.reason
    away.rename(release.path)
    made.poll()
    assert made.ready


@pytest.mark.unit
def test_a_second_worker_does_not_fetch_again(tmp_path, make_bundle) -> None:
    """With a digest the folder says what it holds; nothing half-fetched stays."""
    release = make_bundle()
    first = fetch_named(str(release.path), tmp_path / "to", release.trust, release.digest)
    shutil.rmtree(release.path)
    assert fetch_named(str(release.path), tmp_path / "to", release.trust, release.digest) == first
    assert [path.name for path in (tmp_path / "to").iterdir()] == [release.digest]


@pytest.mark.unit
def test_two_masters_are_refused(tmp_path, make_bundle) -> None:
    """A desired state beside a release, two releases, an admin API without anything to change."""
    release = make_bundle()
    baked = variables("baked", release)
    write_desired(tmp_path / "state", Desired(generation=1, default="", models={}))
    with pytest.raises(ConfigError, match=r"FLIGHTLINE_BUNDLE names a release, and there is a desired\.json"):
        Source(settings(tmp_path, **baked)).read()
    with pytest.raises(ConfigError, match="are both set"):
        settings(tmp_path, **baked, MODEL_URI="file:///x")
    with pytest.raises(ConfigError, match="FLIGHTLINE_ADMIN_PORT is set for a service of one release"):
        settings(tmp_path, **baked, FLIGHTLINE_ADMIN_PORT="0")


@pytest.mark.unit
@pytest.mark.parametrize("digest", ["x", "0" * 63, "../" * 21 + "0"])
def test_a_digest_is_64_digits(tmp_path, digest) -> None:
    """It becomes the name of a folder."""
    with pytest.raises(ConfigError, match="64 hexadecimal digits"):
        settings(tmp_path, MODEL_URI="file:///x", MODEL_DIGEST=digest)


@pytest.mark.unit
def test_an_untrusted_release_is_not_kept(tmp_path, make_bundle) -> None:
    """What was fetched and does not verify leaves no trace."""
    release = make_bundle()
    (release.bundle / "model.onnx").write_bytes(b"")
    with pytest.raises(FlightlineError, match=r"changed model\.onnx"):
        fetch_named(str(release.path), tmp_path / "to", release.trust)
    assert list((tmp_path / "to").iterdir()) == []


@pytest.mark.parametrize(("how", "workers"), [("baked", 1), ("fetched", 1), ("baked", 2), ("fetched", 2)])
def test_a_process_serves_its_release(tmp_path, build_release, monkeypatch, how, workers) -> None:
    """From its first ready moment, with the source of the release read-only."""
    process = Process(tmp_path, free_port(), build_release, ["serving", "--workers", str(workers)])
    release = process.release(seed=3)
    for name, value in variables(how, release).items():
        monkeypatch.setenv(name, value)
    folders = [release.path, *(path for path in release.path.rglob("*") if path.is_dir())]
    for path in folders:
        path.chmod(0o555)
    try:
        process.start()
        assert process.predict().json()["digest"] == release.digest
        assert process.client.get("/models").json()["models"]["toy"]["version"] == release.digest[:12]
        assert process.stop() == 0
    finally:
        for path in folders:
            path.chmod(0o755)
        if process.popen is not None and process.popen.poll() is None:
            process.stop()
    assert not (tmp_path / "state" / "desired.json").exists()


def test_a_process_with_an_untrusted_release_says_so(tmp_path, build_release, monkeypatch) -> None:
    """Alive, not ready, with the sentence where an operator looks."""
    process = Process(tmp_path, free_port(), build_release, ["serving"])
    release = process.release()
    (release.bundle / "golden.json").unlink()
    monkeypatch.setenv("FLIGHTLINE_BUNDLE", str(release.path))
    try:
        process.start(wait_for="/livez")
        reason = until(lambda: (text := process.client.get("/status").json()["reason"]) and text)
        assert "lacks golden.json" in reason
        assert process.status("/readyz") == 503
    finally:
        process.stop()


def test_a_wrong_combination_is_one_sentence(tmp_path) -> None:
    """Found before anything is started."""
    done = subprocess.run(
        [PYTHON, "-m", "serving", "--port", "0", "--admin-port", "0"],
        cwd=ROOT,
        env={"FLIGHTLINE_STATE": str(tmp_path), "FLIGHTLINE_TRUST": "t", "FLIGHTLINE_BUNDLE": "/r"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: FLIGHTLINE_ADMIN_PORT is set for a service of one release")
