"""Clients that know nothing of this project, each in its own locked environment and process (S1)."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from serving.models.desired import Desired, DesiredModel, DesiredVersion, read_acks, write_desired
from tests.serving.locked import CLIENTS, locked
from tests.serving.real import PYTHON, ROOT, START_SECONDS, free_port, until

pytestmark = pytest.mark.lengthy

ROWS = [{"width": 1.5, "height": 0.25, "letter": "A"}, {"width": 9.0, "height": -2.0, "letter": "B"}]
WORKERS = 2  # that share both ports


@dataclass(frozen=True)
class Service:
    """A running service: its addresses, and what /predict_batch says of ROWS by version."""

    url: str
    address: str
    wanted: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def service(tmp_path_factory, build_release) -> Iterator[Service]:
    """Two workers, two versions of one model, both transports."""
    folder = tmp_path_factory.mktemp("clients")
    first = build_release(folder / "releases/0", seed=1)
    second = build_release(folder / "releases/1", seed=2, key=first.key)
    versions = {
        name: DesiredVersion(release=str(release.path), digest=release.digest)
        for name, release in (("1", first), ("2", second))
    }
    model = DesiredModel(default="1", versions=versions)
    write_desired(folder / "state", Desired(generation=1, default="toy", models={"toy": model}))
    http, rpc = free_port(), free_port()
    environment = {
        **os.environ,
        "FLIGHTLINE_STATE": str(folder / "state"),
        "FLIGHTLINE_TRUST": str(folder / "releases/trust.json"),
        "FLIGHTLINE_GRPC_PORT": str(rpc),
    }
    command = [str(PYTHON), "-m", "serving", "--port", str(http), "--workers", str(WORKERS)]
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
    url = f"http://127.0.0.1:{http}"
    try:
        until(
            lambda: process.poll() is not None or len(read_acks(folder / "state")) == WORKERS, START_SECONDS
        )
        until(lambda: process.poll() is not None or _ready(url), START_SECONDS)
        assert process.poll() is None, (folder / "output.txt").read_text()
        wanted = {
            version: httpx.post(f"{url}/predict_batch?version={version}", json={"rows": ROWS}).json()
            for version in versions
        }
        yield Service(url, f"127.0.0.1:{rpc}", wanted)
    finally:
        process.terminate()
        code = process.wait(60)
    assert code == 0
    assert "Traceback" not in (folder / "output.txt").read_text()


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/v2/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def asked(name: str, *arguments: str) -> Any:
    """What the client `name` found, run in its own environment."""
    place = locked(name)
    done = subprocess.run(
        [place / "bin/python", CLIENTS / name / "client.py", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def compare(found: dict[str, Any], wanted: dict[str, Any], version: str | None) -> None:
    """Every form of the answer is that of /predict_batch, from the version that was meant."""
    assert found
    for answer in found.values():
        assert (answer["id"], answer["version"]) == ("mine", version)
        assert answer["label"] == wanted["predictions"]
        for row, expected in zip(answer["scores"], wanted["scores"], strict=True):
            assert row == pytest.approx(expected, abs=1e-6)


def beside_rows(found: dict[str, Any], status: str) -> None:
    """What a client says of its rows arrives: ids as a tensor, scalars as parameters, which are judged."""
    for row, expected in zip(found["with_ids"], found["default"], strict=True):
        assert row == pytest.approx(expected, abs=1e-6)
    assert found["one_id"][0] == found["a_key"][0] == status
    assert "one id for 2 rows" in found["one_id"][1]
    assert "parameters 'keys.flight': found an unknown key; expected none" in found["a_key"][1]


@pytest.mark.slow
@pytest.mark.parametrize("version", ["1", "2"])
def test_tritonclient_over_rest(service, version) -> None:
    """Binary and JSON tensors, versions in the path, metadata, and refusals as its own exception."""
    found = asked("triton_http", service.url, "toy", version)
    assert (found["live"], found["ready"], found["model_ready"]) == (True, True, True)
    assert found["other_ready"] is False
    assert "binary_tensor_data" in found["server"]["extensions"]
    assert found["model"]["versions"] == ["1", "2"]
    assert [tensor["name"] for tensor in found["model"]["inputs"]] == ["numbers", "categories"]
    compare(found["answers"], service.wanted[version], version)
    assert found["default"][0] == pytest.approx(service.wanted["1"]["scores"][0], abs=1e-6)
    assert found["unknown_model"][0] == found["unknown_version"][0] == "404"
    assert "known are toy" in found["unknown_model"][1]
    assert found["out_of_range"][0] == found["wrong_shape"][0] == "422"
    assert "rows[0].width" in found["out_of_range"][1]
    beside_rows(found, "422")


@pytest.mark.slow
@pytest.mark.parametrize("version", ["1", "2"])
def test_tritonclient_over_grpc(service, version) -> None:
    """The same over gRPC, with its status codes."""
    found = asked("triton_grpc", service.address, "toy", version)
    assert (found["live"], found["ready"], found["model_ready"]) == (True, True, True)
    assert found["server"]["name"] == "flightline"
    assert found["model"]["versions"] == ["1", "2"]
    compare(found["answers"], service.wanted[version], version)
    assert found["default"][0] == pytest.approx(service.wanted["1"]["scores"][0], abs=1e-6)
    for name in ("other_ready", "unknown_model", "unknown_version"):
        assert found[name][0] == "StatusCode.NOT_FOUND"
    for name in ("out_of_range", "wrong_shape"):
        assert found[name][0] == "StatusCode.INVALID_ARGUMENT"
    assert "rows[0].width" in found["out_of_range"][1]
    beside_rows(found, "StatusCode.INVALID_ARGUMENT")


@pytest.mark.slow
def test_kserve_over_both(service) -> None:
    """Its REST and its gRPC client, binary and plain."""
    both = asked("kserve", service.url, service.address, "toy")
    for found in both.values():
        assert (found["live"], found["ready"], found["model_ready"]) == (True, True, True)
        assert set(found["answers"]) == {"binary=True", "binary=False"}
    compare(both["rest"]["answers"], service.wanted["1"], None)  # it reads no version from a body
    compare(both["grpc"]["answers"], service.wanted["1"], "1")
    assert both["rest"]["other_ready"] is False
    assert both["rest"]["unknown_model"][0] == "404"
    assert both["rest"]["out_of_range"][0] == "422"
    assert both["grpc"]["other_ready"][0] == both["grpc"]["unknown_model"][0] == "StatusCode.NOT_FOUND"
    assert both["grpc"]["out_of_range"][0] == "StatusCode.INVALID_ARGUMENT"


@pytest.mark.unit
@pytest.mark.parametrize("name", ["kserve", "triton_grpc", "triton_http"])
def test_every_client_is_locked_with_hashes(name) -> None:
    """From the public index alone, so that the lock is the same for everybody."""
    text = (CLIENTS / name / "uv.lock").read_text()
    sources = set(re.findall(r'source = \{ registry = "([^"]+)" \}', text))
    public = set(re.findall(r'source = \{ registry = "([^"]+)" \}', (ROOT / "uv.lock").read_text()))
    assert sources == public
    assert len(sources) == 1
    files = re.findall(r"\{ url = .*", text)
    assert files
    assert all('hash = "sha256:' in line for line in files)
