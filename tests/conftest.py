"""Fixtures for every suite: a small release that a server accepts, and a free port."""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from onnx import TensorProto, helper, numpy_helper

from contract.attestation import Trust, sign, trusted_key
from contract.bundle import Environment, Golden, GoldenRow, seal
from contract.graphs import onnxruntime
from contract.schema import Contract, Feature
from contract.statements import ManifestStatement
from contract.strict import encode_json

LETTERS = ("A", "B")


@dataclass(frozen=True)
class Release:
    """A release directory as `register` leaves it, with what is needed to trust and to extend it."""

    path: Path  # holds bundle/ and attestations/
    digest: str
    contract: Contract
    trust: Trust
    trust_file: Path
    key: Ed25519PrivateKey

    @property
    def bundle(self) -> Path:
        """The bundle's folder."""
        return self.path / "bundle"


def toy_contract(model: str, *, categories: bool = True, routes: tuple[str, ...] = ()) -> Contract:
    """Two numbers and, if wanted, one category, with each of the contract's rules in use."""
    numbers = (
        Feature(name="width", kind="number", description="strict", unit="cm", minimum=0, maximum=10),
        Feature(
            name="height",
            kind="number",
            description="lenient",
            minimum=-5,
            maximum=5,
            nullable=True,
            out_of_range="accept_and_count",
        ),
    )
    letter = Feature(
        name="letter", kind="category", description="one of two", categories=LETTERS, nullable=True
    )
    return Contract(
        model=model,
        features=(*numbers, letter) if categories else numbers,
        target="kind",
        classes=("low", "middle", "high"),
        scores="probability",
        routes=routes,
    )


def toy_graph(contract: Contract, seed: int = 0) -> bytes:
    """An ONNX graph of the contract's interface: softmax of a random linear map, missing numbers as zero."""
    random = np.random.default_rng(seed)
    width = len(contract.numbers)
    size = width + len(contract.categories)
    weights = random.normal(size=(size, len(contract.classes))).astype(np.float32)
    constants = [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(np.float32(0), "zero")]
    inputs = [helper.make_tensor_value_info("numbers", TensorProto.FLOAT, [None, width])]
    nodes = [
        helper.make_node("IsNaN", ["numbers"], ["absent"]),
        helper.make_node("Where", ["absent", "zero", "numbers"], ["filled"]),
    ]
    joined = "filled"
    if contract.categories:
        inputs.append(
            helper.make_tensor_value_info("categories", TensorProto.STRING, [None, len(contract.categories)])
        )
        codes = {"keys_strings": list(LETTERS), "values_floats": [1.0, -1.0], "default_float": 0.0}
        nodes += [
            helper.make_node("LabelEncoder", ["categories"], ["codes"], domain="ai.onnx.ml", **codes),
            helper.make_node("Concat", ["filled", "codes"], ["joined"], axis=1),
        ]
        joined = "joined"
    nodes += [
        helper.make_node("MatMul", [joined, "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=1),
        helper.make_node("ArgMax", ["scores"], ["index"], axis=1, keepdims=0),
        helper.make_node("Cast", ["index"], ["label"], to=TensorProto.INT64),
    ]
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, len(contract.classes)]),
    ]
    graph = helper.make_graph(nodes, "toy", inputs, outputs, constants)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def golden_rows(contract: Contract, graph: bytes) -> tuple[GoldenRow, ...]:
    """Rows in and out of the declared ranges with the answers of `graph`."""
    rows: list[dict[str, Any]] = [
        {"width": 1.5, "height": 0.25, "letter": "A"},
        {"width": 9.0, "height": -2.0, "letter": "B"},
        {"width": 0.0, "height": None, "letter": None},
        {"width": 5.0, "height": 60.0, "letter": "?"},
    ]
    names = [feature.name for feature in contract.features]
    session = onnxruntime().InferenceSession(graph, providers=["CPUExecutionProvider"])
    width = session.get_inputs()[0].shape[1]
    numbers = np.zeros((len(rows), width), dtype=np.float32)
    for column, feature in enumerate(contract.numbers):
        numbers[:, column] = [np.nan if row[feature.name] is None else row[feature.name] for row in rows]
    inputs: dict[str, Any] = {"numbers": numbers}
    if contract.categories:
        inputs["categories"] = np.array([[row["letter"] or ""] for row in rows], dtype=object)
    labels, scores = session.run(["label", "scores"], inputs)
    return tuple(
        GoldenRow(
            row={name: row[name] for name in names},
            label=contract.classes[int(label)],
            scores=tuple(float(score) for score in line),
        )
        for row, label, line in zip(rows, labels, scores, strict=True)
    )


def make_release(
    path: Path,
    *,
    model: str = "toy",
    seed: int = 0,
    key: Ed25519PrivateKey | None = None,
    contract: Contract | None = None,
    graph: bytes | None = None,
    golden: Golden | None = None,
    libraries: dict[str, str] | None = None,
) -> Release:
    """Write a release into `path` and its trust list beside it; another `seed` is another model."""
    key = key or Ed25519PrivateKey.generate()
    contract = contract or toy_contract(model)
    graph = graph or toy_graph(contract, seed)
    rows = golden.rows if golden else golden_rows(contract, graph)
    golden = golden or Golden(tolerance=1e-5, rows=rows)
    bundle = path / "bundle"
    bundle.mkdir(parents=True)
    (bundle / "model.onnx").write_bytes(graph)
    (bundle / "contract.json").write_bytes(encode_json(contract))
    (bundle / "golden.json").write_bytes(encode_json(golden))
    environment = Environment(
        python="3.11",
        libraries=libraries or {name: version(name) for name in ("numpy", "onnxruntime")},
        trained_with={},
        seed=seed,
        as_of="2013-04-01T00:00:00+00:00",
        fit_until="2013-03-01T00:00:00+00:00",
        params="0" * 64,
        data="0" * 64,
        held_out="0" * 64,
    )
    (bundle / "environment.json").write_bytes(encode_json(environment))
    (bundle / "evidence.json").write_text("[]\n")
    (bundle / "model_card.md").write_text(f"# {model}\n")
    pl.DataFrame([row.row for row in rows]).write_parquet(bundle / "reference.parquet")
    digest = seal(bundle, contract)
    attestations = path / "attestations"
    attestations.mkdir()
    statement = ManifestStatement(model=contract.model, digest=digest)
    (attestations / "manifest.json").write_bytes(sign(statement, "manifest", key))
    trust = Trust(keys=(trusted_key("trainer", key.public_key()),))
    trust_file = path.parent / "trust.json"
    trust_file.write_bytes(encode_json(trust))
    return Release(path=path, digest=digest, contract=contract, trust=trust, trust_file=trust_file, key=key)


@pytest.fixture
def make_bundle(tmp_path: Path) -> Callable[..., Release]:
    """`make_release` below tmp_path, every release signed by one key unless told otherwise."""
    key = Ed25519PrivateKey.generate()
    made: list[Release] = []

    def make(**arguments: Any) -> Release:
        made.append(make_release(tmp_path / "releases" / f"{len(made):03d}", **{"key": key, **arguments}))
        return made[-1]

    return make


@pytest.fixture(scope="session")
def build_release() -> Callable[..., Release]:
    """`make_release` itself, for fixtures that outlive one test."""
    return make_release


@pytest.fixture
def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
