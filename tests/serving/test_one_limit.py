"""The service as it is put together: whatever way rows come, one count of them is kept."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from serving.models.desired import Desired, DesiredModel, write_desired

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-serving" / "bin" / "python"

# The instance that a worker makes, asked while batches of somebody else hold every row.
ASKED = """
import asyncio, json, threading
from serving.service import Flightline

instance = Flightline.inner()
while not instance.versions.ready:
    threading.Event().wait(0.02)
numbers = {"name": "numbers", "datatype": "FP32", "shape": [9, 2], "data": [1.5] * 18}
words = {"name": "categories", "datatype": "BYTES", "shape": [9, 1], "data": ["A"] * 9}
batch = {"rows": [{"letter": "A", "width": 1, "height": 1}] * 9}
found = []

async def ask(path, kind, body):
    async def receive():
        return {"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}

    async def send(message):
        found.extend([message["status"]] if "status" in message else [])

    scope = {
        "type": "http", "http_version": "1.1", "method": "POST", "scheme": "http", "root_path": "",
        "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": [(b"content-type", kind), (b"host", b"x")],
    }
    await instance.app(scope, receive, send)

async def every_way():
    await ask("/predict_batch", b"application/json", batch)
    await ask("/predict_batch", b"application/json; charset=utf-8", batch)
    await ask("/v2/models/toy/infer", b"application/json", {"inputs": [numbers, words]})

async def scene():
    with instance.admission.batch(20):
        await every_way()
    await every_way()

asyncio.run(scene())
instance._close()
print(json.dumps(found))
"""


def test_one_limit_is_for_every_way(tmp_path, build_release) -> None:
    """The hot path, the ordinary way and V2 refuse while it is reached, and answer again afterwards."""
    if not PYTHON.exists():
        pytest.skip("NO .venv-serving: `make test` makes it; the one limit goes untested")
    release = build_release(tmp_path / "releases")
    (tmp_path / "state").mkdir()
    model = DesiredModel.of("1", str(release.path), release.digest)
    write_desired(tmp_path / "state", Desired(generation=1, default="toy", models={"toy": model}))
    own = {key: value for key, value in os.environ.items() if not key.startswith("FLIGHTLINE_")}
    own |= {
        "FLIGHTLINE_STATE": str(tmp_path / "state"),
        "FLIGHTLINE_TRUST": str(release.trust_file),
        "FLIGHTLINE_PREDICTIONS": str(tmp_path / "predictions"),
        "FLIGHTLINE_ROWS": "20",
    }
    done = subprocess.run(
        [PYTHON, "-c", ASKED], cwd=ROOT, env=own, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-1000:]
    statuses: Any = json.loads(done.stdout.splitlines()[-1])
    assert statuses == [503] * 3 + [200] * 3
