"""explain: walk one row through every step, raw to answer.

ROW is an id of the held-out table, or a JSON file with a request. The features of a held-out row are computed
again from what was known at its moment, and must be those that the table holds.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import polars as pl

from contract.bundle import Bundle, open_bundle
from contract.errors import FlightlineError
from contract.predictions import FEATURE_PREFIX
from contract.schema import Feature
from contract.strict import encode_json
from pipelines.building.artifacts import Artifacts, existing
from pipelines.cli import OK, command
from pipelines.explaining.row import Subject, drawn, held_out, requested
from pipelines.explaining.show import show
from training import model as models
from training.explaining import Effect, Step, Trees, occlusion, steps, trees, typical
from training.export import feed_of, run
from training.learning import answers

MINUTES_A_DAY, MINUTES_AN_HOUR = 1440, 60
TWO = 2


@dataclass(frozen=True)
class Line:
    """One feature: its value, where it comes from and what the contract says of it."""

    name: str
    value: float | str | None
    unit: str
    source: str
    window: str
    check: str


@dataclass(frozen=True)
class Explained:
    """Every step of one row."""

    model: str
    digest: str
    subject: Subject
    features: tuple[Line, ...]
    inputs: dict[str, tuple[Any, ...]]
    steps: tuple[Step, ...]
    trees: Trees | None
    kind: str  # probability or decision
    answer: str
    scores: dict[str, float]
    fitted_difference: float | None  # None where the fitted pipeline of this graph is not here
    about: str  # the class whose score the occlusion is about
    effects: tuple[Effect, ...]


def explain(
    model: str, row: str, artifacts: Path = Path("artifacts"), bundle: Path | None = None
) -> Explained:
    """Walk `row` through the bundle in `bundle`, or the one that was built.

    Raises:
        FlightlineError: there is no such row or bundle, the request is refused, the bundle has another
            contract than the tables, or a feature is not what it was.
    """
    declared, folder = models.load(model), Artifacts.of(model, artifacts)
    released = open_bundle(existing(bundle or folder.bundle))
    contract, graph = released.contract, released.read("model.onnx")
    if contract.model != model:
        raise FlightlineError(
            f"{released.path} holds a bundle of '{contract.model}'",
            f"one of '{model}'",
            "Name another bundle",
        )
    if row.endswith(".json"):
        subject = requested(_file(Path(row)), contract)
    else:
        if contract.fingerprint != declared.contract.fingerprint:
            raise FlightlineError(
                f"{released.path} has another contract than the tables in {folder.root}",
                "a bundle that was built from them",
                "Give the row as a JSON request, or check out the bundle's commit",
            )
        subject = held_out(row, declared, folder)
    label, scores = run(graph, contract, subject.features)
    # Of two classes the last one's score says everything; of more, the answer's own.
    index = TWO - 1 if len(contract.classes) == TWO else int(label[0])
    reference = _reference(released)
    return Explained(
        model=model,
        digest=released.digest,
        subject=subject,
        features=tuple(_line(feature, subject.features[feature.name][0]) for feature in contract.features),
        inputs={
            name: tuple(np.asarray(values).reshape(-1).tolist())
            for name, values in feed_of(contract, subject.features).items()
        },
        steps=steps(graph, contract, subject.features),
        trees=trees(graph, contract, subject.features),
        kind=contract.scores,
        answer=contract.classes[int(label[0])],
        scores=dict(zip(contract.classes, map(float, scores[0]), strict=True)),
        fitted_difference=_fitted_difference(released, folder, subject, scores),
        about=contract.classes[index],
        effects=occlusion(graph, contract, subject.features, typical(reference, contract), index),
    )


def main(argv: list[str] | None = None) -> int:
    """Explain one row."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.explain",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m pipelines.explain flights 2013-03-20/UA/1545/EWR",
    )
    parser.add_argument("model", help=f"one of {', '.join(models.names())}")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("row", nargs="?", help="an id of the held-out table, or a JSON file with a request")
    which.add_argument("--random", type=int, metavar="SEED", help="a held-out row, drawn by this seed")
    parser.add_argument("--bundle", type=Path, help="a bundle's folder (the one in artifacts)")
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts"), help="holds MODEL/split")
    parser.add_argument("--json", action="store_true", help="for a program to read")
    options = parser.parse_args(argv)
    models.load(options.model)
    row = options.row
    if row is None:
        row = drawn(Artifacts.of(options.model, options.artifacts), options.random)
    found = explain(options.model, row, options.artifacts, options.bundle)
    if options.json:
        print(encode_json(_plain(found)).decode(), end="")
    else:
        show(found)
    return OK


def _line(feature: Feature, value: Any) -> Line:
    spec = feature.aggregate
    window = ""
    if spec is not None:
        size, unit = (
            (spec.window_minutes / MINUTES_A_DAY, "d")
            if spec.window_minutes > MINUTES_A_DAY
            else (spec.window_minutes / MINUTES_AN_HOUR, "h")
        )
        of = f" of {spec.value}" if spec.value else ""
        window = f"{spec.statistic}{of}, {spec.events} by {'+'.join(spec.by)}, {size:g} {unit}"
    return Line(feature.name, value, feature.unit, feature.source, window, _check(feature, value))


def _check(feature: Feature, value: Any) -> str:
    if value is None or value != value:  # noqa: PLR0124 - NaN is missing, too
        return "missing, allowed" if feature.nullable else "missing, refused"
    if feature.kind == "category":
        if not feature.categories:
            return "any value"
        return "known" if value in feature.categories else f"unknown: {feature.unknown_category}"
    limits = f"[{feature.minimum}, {feature.maximum}]"
    return f"in {limits}" if feature.in_range(value) else f"outside {limits}: {feature.out_of_range}"


def _reference(bundle: Bundle) -> pl.DataFrame:
    """The bundle's sample of training rows, under the names of its features."""
    names = [feature.name for feature in bundle.contract.features]
    table = pl.read_parquet(bundle.read("reference.parquet"))
    return table.select(pl.col(f"{FEATURE_PREFIX}{name}").alias(name) for name in names)


def _fitted_difference(
    bundle: Bundle, folder: Artifacts, subject: Subject, scores: np.ndarray
) -> float | None:
    """The largest difference of a score to that of the pipeline that the graph was converted from."""
    graph, fitted = folder.model / "model.onnx", folder.model / "fitted.joblib"
    if not fitted.is_file() or graph.read_bytes() != bundle.read("model.onnx"):
        return None
    _, theirs = answers(joblib.load(fitted), bundle.contract, subject.features)
    return float(np.max(np.abs(theirs - scores)))


def _file(path: Path) -> Path:
    if not path.is_file():
        raise FlightlineError(f"{path} is no file", "a JSON file with a request", "Correct its name")
    return path


def _plain(found: Explained) -> dict[str, Any]:
    """For a program: the table of one row as a mapping, everything else as it is."""
    subject = {
        name: getattr(found.subject, name)
        for name in ("id", "at", "facts", "windows", "outcome", "outcome_at")
    }
    rest = {name: getattr(found, name) for name in found.__dataclass_fields__ if name != "subject"}
    return {"row": subject, **rest}


if __name__ == "__main__":
    command(main)
