"""Releases that must not be served, each for a reason of its own."""

import shutil
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contract.bundle import MANIFEST, Golden, seal


def truncated(build: Any) -> Any:
    """Half of the graph."""
    release = build(seed=2)
    graph = release.bundle / "model.onnx"
    graph.write_bytes(graph.read_bytes()[: graph.stat().st_size // 2])
    return release


def truncated_and_sealed(build: Any) -> Any:
    """Half of the graph, signed as if it were whole: what a broken export leaves."""
    good = build(seed=2)
    graph = (good.bundle / "model.onnx").read_bytes()
    golden = msgspec.json.decode((good.bundle / "golden.json").read_bytes(), type=Golden)
    return build(graph=graph[: len(graph) // 2], golden=golden)


def wrong_signature(build: Any) -> Any:
    """Signed by somebody else."""
    return build(seed=2, key=Ed25519PrivateKey.generate())


def wrong_digest(build: Any) -> Any:
    """The files of another bundle, sealed anew behind the signature's back."""
    release, other = build(seed=2), build(seed=3)
    shutil.copy(other.bundle / "model.onnx", release.bundle / "model.onnx")
    (release.bundle / MANIFEST).unlink()
    seal(release.bundle, release.contract)
    return release


def nan_outputs(build: Any) -> Any:
    """Its scores are NaN."""
    base = build(seed=2)
    graph = onnx.load(base.bundle / "model.onnx")
    for node in graph.graph.node:
        node.output[:] = ["soft" if name == "scores" else name for name in node.output]
        node.input[:] = ["soft" if name == "scores" else name for name in node.input]
    graph.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(np.nan), "nan"))
    graph.graph.node.append(onnx.helper.make_node("Mul", ["soft", "nan"], ["scores"]))
    golden = msgspec.json.decode((base.bundle / "golden.json").read_bytes(), type=Golden)
    return build(graph=graph.SerializeToString(), golden=golden)


def missing_file(build: Any) -> Any:
    """Without its golden answers."""
    release = build(seed=2)
    (release.bundle / "golden.json").unlink()
    return release


def older_contract(build: Any) -> Any:
    """It does not know a feature that callers send."""
    release = build(seed=2)
    narrow = msgspec.structs.replace(release.contract, features=release.contract.features[::2])
    return build(contract=narrow, seed=2)


def no_release(build: Any) -> Any:
    """The folder has gone."""
    release = build(seed=2)
    shutil.rmtree(release.path)
    return release


# Each way to make a bundle bad, and what the refusal says.
BAD = [
    pytest.param(truncated, "changed model.onnx", id="truncated"),
    pytest.param(truncated_and_sealed, "cannot load the graph", id="truncated-but-sealed"),
    pytest.param(wrong_signature, "expected a trusted trainer key", id="wrong-signature"),
    pytest.param(wrong_digest, "has digest", id="wrong-digest"),
    pytest.param(nan_outputs, "expected finite scores", id="nan-outputs"),
    pytest.param(missing_file, "lacks golden.json", id="missing-file"),
    pytest.param(
        older_contract, "older contract than version 1, which answers: it lacks", id="older-contract"
    ),
    pytest.param(no_release, "cannot be read", id="no-release"),
]
