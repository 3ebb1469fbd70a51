"""What goes into an image, and that it is the same wherever it is put together."""

import io
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from contract.errors import ConfigError
from pipelines.delivery.releases import Release
from pipelines.images import context
from pipelines.images.declared import Images, read_images
from pipelines.images.dependencies import platform, requirements
from pipelines.machine.settings import ROOT

DOCKER = ROOT / "infra" / "docker"


def packed(entries: list[context.Entry]) -> bytes:
    """The archive of some entries."""
    file = io.BytesIO()
    context.write(entries, file)
    return file.getvalue()


@pytest.mark.unit
def test_the_same_entries_give_the_same_bytes(tmp_path: Path) -> None:
    """Neither order, nor owner, nor mode, nor time of a file is in the archive; folders come first."""
    one, other = tmp_path / "one", tmp_path / "other"
    for number, folder in enumerate((one, other)):
        (folder / "deep").mkdir(parents=True)
        (folder / "deep" / "a.py").write_text("a")
        (folder / "deep" / "a.py").chmod(0o600 + number)
        os.utime(folder / "deep" / "a.py", (number, number))
    first = packed([("x/b", b"b"), ("x/deep/a.py", one / "deep" / "a.py")])
    assert first == packed([("x/deep/a.py", other / "deep" / "a.py"), ("x/b", b"b")])
    with tarfile.open(fileobj=io.BytesIO(first)) as archive:
        members = archive.getmembers()
    assert [member.name for member in members] == ["x", "x/b", "x/deep", "x/deep/a.py"]
    assert {(member.mtime, member.uid, member.gid) for member in members} == {(context.EPOCH, 0, 0)}
    assert {member.mode for member in members} == {0o755, 0o644}


@pytest.mark.unit
def test_only_what_a_server_imports_is_copied() -> None:
    """Two packages, and no training, pipeline, test or secret."""
    names = [name for name, _ in context.code(ROOT)]
    assert {name.split("/")[4] for name in names} == {"contract", "serving"}
    assert all(name.endswith(".py") for name in names)
    assert "code/opt/flightline/code/serving/__main__.py" in names


@pytest.mark.unit
def test_of_a_release_what_was_signed_is_copied(release: Callable[..., Release]) -> None:
    """The files of the manifest and three attestations; a stray file of the folder stays outside."""
    held = release()
    (held.path / "attestations" / "note.txt").write_text("private")
    names = {name for name, _ in context.release(held)}
    assert "model/release/bundle/model.onnx" in names
    assert len(names) == len(held.bundle.manifest.files) + 1 + 3
    assert not any("note" in name for name in names)


@pytest.mark.unit
def test_scripts_and_byte_code_of_the_installer_stay_outside(tmp_path: Path) -> None:
    """They hold the path of an interpreter that is not in the image; a package's own `bin` is its own."""
    for name in ("bin/uvicorn", "a/__pycache__/a.pyc", "a/a.py", "a/bin/tool.py", ".lock", "six.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    inside = "dependencies/opt/flightline/site-packages/"
    names = [name.removeprefix(inside) for name, _ in context.dependencies(tmp_path)]
    assert names == ["a/a.py", "a/bin/tool.py", "six.py"]


@pytest.mark.unit
def test_another_byte_or_name_or_word_is_other_code() -> None:
    """The fingerprint says whether an image can be used again."""
    seen = {
        context.fingerprint([("a", b"1")], "base"),
        context.fingerprint([("a", b"2")], "base"),
        context.fingerprint([("b", b"1")], "base"),
        context.fingerprint([("a", b"1")], "other"),
        context.fingerprint([("a", b""), ("1", b"")], "base"),
    }
    assert len(seen) == 5


def test_the_lock_file_names_every_library_by_hash() -> None:
    """A server's, and no other; without a hash nothing would be installed."""
    lines = [line for line in requirements().splitlines() if line and not line.startswith((" ", "#"))]
    names = {line.partition("==")[0] for line in lines}
    assert {"bentoml", "onnxruntime", "msgspec"} <= names
    assert not names & {"scikit-learn", "mlflow", "polars", "pytest"}
    assert all(line.rstrip().endswith("\\") for line in lines)


@pytest.mark.unit
@pytest.mark.parametrize("architecture", ["x86_64", "aarch64"])
def test_wheels_are_chosen_for_the_engine(architecture: str) -> None:
    """Not for the machine that installs them; one that nobody has wheels for is refused."""
    assert platform(architecture, read_images({})) == f"{architecture}-manylinux_2_28"
    with pytest.raises(ConfigError, match="'riscv64'; expected x86_64 or aarch64"):
        platform("riscv64", read_images({}))


@pytest.mark.unit
def test_a_base_image_can_be_named() -> None:
    """By a variable, for a registry of one's own."""
    assert read_images({}).base == "python:3.11-slim-bookworm"
    assert read_images({"FLIGHTLINE_BASE_IMAGE": "own/base@sha256:1"}).base == "own/base@sha256:1"


def rules(serving: str, model: str, images: Images) -> list[str]:
    """What is wrong with the Dockerfiles."""
    both = serving + model
    final = [line for line in serving.splitlines() if line.startswith(("USER", "CMD", "FROM"))]
    facts = {
        "needs an extension of the builder": "# syntax" not in both
        and "<<" not in both
        and "--link" not in both,
        "fetches something": not any(
            word in both for word in ("ADD ", "curl", "apt-get", "pip install", "http:")[:4]
        ),
        "has a base that cannot be exchanged": "FROM ${BASE_IMAGE}" in serving
        and "FROM ${SERVING_IMAGE}" in model,
        "has another default base": f"ARG BASE_IMAGE={images.base}\n" in serving,
        "has another default Python": f"ARG PYTHON_VERSION={images.python}\n" in serving,
        "has another time": f"ARG SOURCE_DATE_EPOCH={context.EPOCH}\n" in serving,
        "runs as root": "USER 10001:10001" in final and "USER" not in model,
        "starts through a shell": any(line.startswith('CMD ["python"') for line in final),
        "brings keys to believe": "trust.json" not in both.replace("FLIGHTLINE_TRUST=/trust/trust.json", ""),
        "adds more than a release": model.count("COPY") == 1 and "RUN" not in model,
        "talks to others": "ORT_DISABLE_TELEMETRY=1" in serving and "BENTOML_DO_NOT_TRACK=True" in serving,
    }
    return [name for name, holds in facts.items() if not holds]


def recipes() -> tuple[str, str]:
    """Both Dockerfiles."""
    return (DOCKER / context.SERVING).read_text(), (DOCKER / context.MODEL).read_text()


@pytest.mark.unit
def test_the_dockerfiles_keep_the_rules() -> None:
    """For any engine, without a network, without root."""
    assert rules(*recipes(), read_images({})) == []


@pytest.mark.unit
@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("# The generic", "# syntax=docker/dockerfile:1\n# The generic", "needs an extension of the builder"),
        ("COPY code /", "RUN pip install x", "fetches something"),
        ("FROM ${BASE_IMAGE}", "FROM debian:12", "has a base that cannot be exchanged"),
        ("BASE_IMAGE=python:3.11", "BASE_IMAGE=python:3.12", "has another default base"),
        ("PYTHON_VERSION=3.11", "PYTHON_VERSION=3.12", "has another default Python"),
        ("SOURCE_DATE_EPOCH=3", "SOURCE_DATE_EPOCH=4", "has another time"),
        ("USER 10001:10001", "USER root", "runs as root"),
        ('CMD ["python", "-m", "serving", ', "CMD python -m serving", "starts through a shell"),
        ("COPY code /", "COPY trust.json /trust/", "brings keys to believe"),
        ("COPY model /", "COPY model /\nRUN id", "adds more than a release"),
        ("ORT_DISABLE_TELEMETRY=1", "X=1", "talks to others"),
    ],
)
def test_a_broken_rule_is_found(old: str, new: str, problem: str) -> None:
    """One line in one of the two."""
    serving, model = recipes()
    assert old in serving + model
    assert problem in rules(serving.replace(old, new), model.replace(old, new), read_images({}))


@pytest.mark.unit
def test_the_image_has_the_folders_and_limits_of_the_manifests() -> None:
    """What is tested here is what a cluster allows: folders, user, port and memory."""
    path = ROOT / "infra" / "kubernetes" / "base" / "deployment.yaml"
    pod = yaml.safe_load(path.read_text())["spec"]["template"]["spec"]
    server, user = pod["containers"][0], pod["securityContext"]
    serving = recipes()[0]
    for item in server["env"]:
        if item["name"] in {"FLIGHTLINE_STATE", "FLIGHTLINE_TRUST", "FLIGHTLINE_PREDICTIONS"}:
            assert f"{item['name']}={item['value']} " in serving
    assert f"USER {user['runAsUser']}:{user['runAsGroup']}\n" in serving
    assert server["resources"]["limits"]["memory"].lower() == f"{read_images({}).memory}i"
    command = ", ".join(f'"{word}"' for word in server["command"])
    assert f"CMD [{command}]" in serving


@pytest.mark.parametrize("name", [context.SERVING, context.MODEL])
def test_the_dockerfiles_are_sound(name: str, tmp_path: Path) -> None:
    """No finding of hadolint; an image of no version and a `cd` are findings."""
    hadolint = ROOT / ".venv" / "bin" / "hadolint"
    if not hadolint.exists():
        pytest.skip("hadolint is not installed (run: make setup)")
    broken = tmp_path / name
    broken.write_text((DOCKER / name).read_text() + "FROM debian\nRUN cd /tmp\n")
    for path, code in ((DOCKER / name, 0), (broken, 1)):
        done = subprocess.run([hadolint, path], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == code, done.stdout
