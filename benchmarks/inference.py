"""How long the graph that ships takes in onnxruntime, one core: a row alone, and rows together.

The session has the options of the service; a request's way through HTTP is not in it.
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.calibration import Figure, measured
from contract.bundle import Bundle, open_bundle
from contract.errors import FlightlineError
from contract.graphs import onnxruntime
from contract.predictions import FEATURE_PREFIX
from serving.rows import decode_rows

BATCHES = (256, 4096)  # rows
REPEAT = {1: 5_000, 256: 100, 4096: 10}  # calls, each about a second at most


def inference(bundle_path: Path) -> list[Figure]:
    """Per-row time of the bundle's graph for single rows and batches, and of decoding a row as it is sent.

    Raises:
        FlightlineError: there is no bundle.
    """
    if not bundle_path.is_dir():
        raise FlightlineError(f"{bundle_path} does not exist", "a built model", "Run: make train")
    bundle = open_bundle(bundle_path)
    graph = session(bundle)
    sent = _rows(bundle_path / "reference.parquet", max(BATCHES))
    rows = decode_rows(bundle.contract, sent)
    feed: dict[str, Any] = {"numbers": rows.numbers}
    if rows.categories is not None:
        feed["categories"] = rows.categories
    figures = [
        measured(
            f"{bundle.model}: a row decoded and checked",
            lambda: decode_rows(bundle.contract, sent[:1]),
            repeat=REPEAT[1],
        )
    ]
    for size in sorted({1, *(min(size, len(sent)) for size in BATCHES)}):  # a small model has fewer rows
        part = {name: np.ascontiguousarray(values[:size]) for name, values in feed.items()}
        graph.run(None, part)  # the first call of a size also prepares it
        whole = measured("", partial(graph.run, None, part), repeat=REPEAT.get(size, 100))
        name = "one row" if size == 1 else f"{size:,} rows, each"
        rate = f"{size / whole.seconds:,.0f} rows/s"
        figures.append(
            Figure(f"{bundle.model}: {name}", whole.seconds / size, whole.calibration_s, detail=rate)
        )
    return figures


def session(bundle: Bundle, threads: int = 1) -> Any:
    """The bundle's graph with the options of the service: one core, which it does not spin on."""
    library = onnxruntime()
    options = library.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return library.InferenceSession(bundle.read("model.onnx"), options, providers=["CPUExecutionProvider"])


def _rows(path: Path, most: int) -> list[dict[str, object]]:
    """Rows of the reference as a caller would send them."""
    table = pl.read_parquet(path).head(most)
    names = [name for name in table.columns if name.startswith(FEATURE_PREFIX)]
    plain = table.select(pl.col(name).alias(name.removeprefix(FEATURE_PREFIX)) for name in names)
    return plain.fill_nan(None).to_dicts()
