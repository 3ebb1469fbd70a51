"""One verified model in onnxruntime. What cannot be proven to answer as training did is not loaded."""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.attestation import Trust
from contract.bundle import Bundle, Environment
from contract.errors import BundleError
from contract.graphs import onnxruntime
from contract.release import open_release
from contract.schema import Contract
from serving.rows import Categories, Numbers, RowsRefusedError, decode_rows

# A graph means the same under another patch release of these, not under another minor one.
EXACT = ("onnxruntime", "numpy")
WARM_ROWS = 8


@dataclass(frozen=True)
class Predictor:
    """A model that answers golden rows as training did."""

    bundle: Bundle
    version: str
    skew: dict[str, str]  # library to "trained with A, serving with B", where they differ but may
    _session: Any

    @classmethod
    def load(cls, release: Path, digest: str, version: str, trust: Trust, *, threads: int = 1) -> "Predictor":
        """Verify the release directory `release`, which must hold the bundle `digest`, and load its model.

        One run of the graph may use `threads` threads.

        Raises:
            BundleError: anything is not as attested, or this runtime does not answer as training did.
        """
        bundle = open_release(release, digest, trust)
        skew = _compare_libraries(bundle.environment)
        session = _open_session(bundle, threads)
        _check_signature(session, bundle.contract)
        predictor = cls(bundle=bundle, version=version, skew=skew, _session=session)
        predictor._check_golden()
        return predictor

    @property
    def contract(self) -> Contract:
        """What the model takes and answers."""
        return self.bundle.contract

    def predict(
        self, numbers: Numbers, categories: Categories | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Labels (rows,) as indices into the classes, and scores (rows, classes)."""
        inputs: dict[str, Any] = {"numbers": numbers} if numbers.shape[1] else {}
        if categories is not None:
            inputs["categories"] = categories
        labels, scores = self._session.run(("label", "scores"), inputs)
        return labels, scores

    def _check_golden(self) -> None:
        golden, classes = self.bundle.golden, self.contract.classes
        if not golden.rows:
            raise self._differs("there are no golden answers", "at least one")
        try:
            rows = decode_rows(self.contract, [item.row for item in golden.rows])
        except RowsRefusedError as error:
            first = error.problems[0]
            raise self._differs(f"golden {first.field} is {first.found}", first.expected) from None
        try:
            labels, scores = self.predict(rows.numbers, rows.categories)
        except Exception as error:  # onnxruntime's errors share no base class
            raise self._differs(f"the graph fails on golden rows ({_line(error)})", "an answer") from error
        if labels.shape != (len(golden.rows),) or scores.shape != (len(golden.rows), len(classes)):
            raise self._differs(
                f"the graph answers label {labels.shape} and scores {scores.shape}",
                f"({len(golden.rows)},) and {(len(golden.rows), len(classes))}",
            )
        for index, (item, label, found) in enumerate(zip(golden.rows, labels, scores, strict=True)):
            if not np.isfinite(found).all():
                raise self._differs(f"golden row {index} scores {found.tolist()}", "finite scores")
            if not 0 <= label < len(classes) or classes[label] != item.label:
                name = classes[label] if 0 <= label < len(classes) else f"class {label}"
                raise self._differs(f"golden row {index} answers '{name}'", f"'{item.label}'")
            wanted = np.asarray(item.scores, dtype=np.float64)
            if wanted.shape != found.shape or np.abs(found - wanted).max() > golden.tolerance:
                raise self._differs(
                    f"golden row {index} scores {found.tolist()}",
                    f"{wanted.tolist()} within {golden.tolerance}",
                )
        self._warm(rows.numbers, rows.categories)

    def _warm(self, numbers: Numbers, categories: Categories | None) -> None:
        """Answer golden rows one at a time, as most requests do: the first of a shape is slow."""
        for row in range(min(len(numbers), WARM_ROWS)):
            one = slice(row, row + 1)
            self.predict(numbers[one], None if categories is None else categories[one])

    def _differs(self, found: str, expected: str) -> BundleError:
        return _refusal(self.bundle, found, expected)


def _compare_libraries(environment: Environment) -> dict[str, str]:
    skew: dict[str, str] = {}
    for name, trained in sorted(environment.libraries.items() | {(name, "") for name in EXACT}):
        if name in EXACT and not environment.libraries.get(name):
            raise BundleError(
                f"the bundle does not say its {name}", "its version", "Run the package stage again"
            )
        if not trained:
            continue
        here = _installed(name)
        if name in EXACT and here.split(".")[:2] != trained.split(".")[:2]:
            raise BundleError(
                f"{name} is {here} here and was {trained} in training",
                f"{name} {'.'.join(trained.split('.')[:2])}.x",
                "Serve with the environment of the lock file the model was trained with",
            )
        if here != trained:
            skew[name] = f"trained with {trained}, serving with {here}"
    return skew


def _installed(name: str) -> str:
    try:
        return installed(name)
    except PackageNotFoundError:
        return "nothing"


def _open_session(bundle: Bundle, threads: int) -> Any:
    library = onnxruntime()
    options = library.SessionOptions()
    options.intra_op_num_threads = threads  # as many as cores by default, which spin and take those cores
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    # Bytes, not a path: what is loaded is what was hashed.
    graph = bundle.read("model.onnx")
    try:
        return library.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no base class
        raise _refusal(
            bundle, f"onnxruntime cannot load the graph ({_line(error)})", "a graph it supports"
        ) from error


def _check_signature(session: Any, contract: Contract) -> None:
    inputs: dict[str, tuple[str, int | None]] = {}
    if contract.numbers:
        inputs["numbers"] = ("tensor(float)", len(contract.numbers))
    if contract.categories:
        inputs["categories"] = ("tensor(string)", len(contract.categories))
    _compare(contract, "input", inputs, session.get_inputs())
    _compare(
        contract,
        "output",
        {"label": ("tensor(int64)", None), "scores": ("tensor(float)", len(contract.classes))},
        session.get_outputs(),
    )


def _compare(contract: Contract, side: str, expected: dict[str, tuple[str, int | None]], found: Any) -> None:
    """Name, type, rank and width. A width an output leaves open is seen in its golden answers."""
    nodes = {node.name: node for node in found}
    if set(nodes) != set(expected):
        raise _signature(contract, f"{side}s {sorted(nodes)}", f"{sorted(expected)}")
    for name, (kind, width) in expected.items():
        node, rank = nodes[name], 1 if width is None else 2
        open_width = side == "output" and not (len(node.shape) == rank and isinstance(node.shape[-1], int))
        if node.type != kind:
            raise _signature(contract, f"{side} {name} of {node.type}", kind)
        if len(node.shape) != rank or (width is not None and node.shape[1] != width and not open_width):
            shape = "(rows,)" if width is None else f"(rows, {width})"
            raise _signature(contract, f"{side} {name} of shape {node.shape}", shape)


def _signature(contract: Contract, found: str, expected: str) -> BundleError:
    return BundleError(f"the graph of {contract.model} has {found}", expected, "Export the model again")


def _refusal(bundle: Bundle, found: str, expected: str) -> BundleError:
    return BundleError(
        f"{bundle.model} {bundle.digest[:12]}: {found}",
        expected,
        "Run the package stage again and register it",
    )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
