"""Equal models are equal bytes, whatever process converts them."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import polars as pl
import pytest

from training import export
from training.learning import BoostedTrees, boosted_trees
from training.models.iris import CONTRACT, LENGTHS

ROOT = Path(__file__).parents[2]

CONVERT = """
import hashlib, sys
sys.path.insert(0, sys.argv[1])
from tests.training.test_export_bytes import graph
print(hashlib.sha256(graph()).hexdigest())
"""


def graph() -> bytes:
    """A small boosted model of random flowers, fitted and converted."""
    rng = np.random.default_rng(0)
    rows = pl.DataFrame({name: rng.normal(size=300) for name in LENGTHS}).with_columns(
        pl.Series("label", rng.integers(0, 2, 300))
    )
    params = BoostedTrees(0.1, 8, 5, 0.0, 5, 3)
    return export.to_onnx(boosted_trees(CONTRACT, rows, rows, params, 0).pipeline, CONTRACT)


def digest(seed: str) -> str:
    """The graph's hash as a process with that hash seed makes it."""
    done = subprocess.run(
        [sys.executable, "-c", CONVERT, str(ROOT)],
        env={**os.environ, "PYTHONHASHSEED": seed, "OMP_WAIT_POLICY": "PASSIVE"},
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return done.stdout.strip()


@pytest.mark.slow
def test_every_process_makes_the_same_bytes() -> None:
    """Strings hash differently in each process; a set of them must not order the graph."""
    assert {digest(seed) for seed in ("0", "1", "2")} == {hashlib.sha256(graph()).hexdigest()}


def test_operator_sets_are_listed_in_order() -> None:
    """By domain, not by the order of a set."""
    domains = [item.domain for item in onnx.load_from_string(graph()).opset_import]
    assert domains == sorted(domains)


def test_the_order_of_operator_sets_reaches_the_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Listed the other way round they are other bytes, so leaving the order to chance would show."""
    before, in_order = graph(), export._sort_opsets

    def turned(made: onnx.ModelProto) -> None:
        in_order(made)
        made.opset_import.reverse()

    monkeypatch.setattr(export, "_sort_opsets", turned)
    assert graph() != before
