"""Two clean trainings of the trees, in processes that hash strings differently, make one graph (C11)."""

import os
import subprocess
import sys

import pytest

from tests.gates.workshop import MODEL, ROOT


@pytest.mark.slow
def test_other_processes_train_the_same_graph(uncrowned):
    """Byte for byte the one that the test's own process made, and its curve as well."""
    files = (uncrowned.artifacts.model / "model.onnx", uncrowned.artifacts.curve)
    before = [path.read_bytes() for path in files]
    for seed in ("1", "4242"):
        for path in files:
            path.unlink()
        done = subprocess.run(
            [sys.executable, "-m", "pipelines.train", MODEL],
            cwd=uncrowned.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed, "OMP_WAIT_POLICY": "PASSIVE"},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        assert [path.read_bytes() for path in files] == before
