"""The model card in Hugging Face's shape: YAML front matter, then Markdown; the author's words and the facts.

Front matter: https://github.com/huggingface/hub-docs/blob/main/modelcard.md. Sections: the Hub's template,
https://huggingface.co/docs/hub/model-card-annotated, and after them our own.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import yaml

from contract.bundle import Environment
from training.ablation import Ablation
from training.diagnostics import Part
from training.gates.verdict import Evidence
from training.model import Card, Model

LANGUAGE = "en"  # of the card: a table of numbers has none
TASK = "tabular-classification"  # as the Hub calls it
HUB_METRICS = {"accuracy": "accuracy", "brier": "brier_score", "roc_auc": "roc_auc"}  # ours -> the Hub's
UNITS = {"log_loss": "nats per row", "error_rate": "share of rows"}
CODE = """
import json
from pathlib import Path

import numpy as np
import onnxruntime as ort

contract = json.loads(Path("contract.json").read_text())
row = json.loads(Path("golden.json").read_text())["rows"][0]["row"]  # or a row of your own
kinds = ("number", "category")
numbers, categories = ([row[f["name"]] for f in contract["features"] if f["kind"] == kind] for kind in kinds)
inputs = {"numbers": np.array([[np.nan if value is None else value for value in numbers]], np.float32)}
if categories:
    inputs["categories"] = np.array([[value or "" for value in categories]], object)
label, scores = ort.InferenceSession("model.onnx").run(["label", "scores"], inputs)
print(contract["classes"][label[0]], scores[0])
"""


@dataclass(frozen=True)
class CardFacts:
    """What a run found, as far as a card tells it."""

    environment: Environment
    params: Mapping[str, Any]  # hyperparameters
    rows: Mapping[str, int]  # of train, validation and test
    test_from: datetime
    test_until: datetime
    by_day: bool  # whether rows have a time of their own
    metrics: Mapping[str, float]
    rivals: Mapping[str, Mapping[str, float]]
    slices: Sequence[Part]
    ablation: Ablation
    evidence: Evidence


def card(model: Model, facts: CardFacts) -> str:
    """The whole card."""
    said = model.card or _silent(model.contract.model)
    sections = {
        "Model Details": _details(model, said),
        "Uses": _parts({"Direct Use": said.intended_use, "Out-of-Scope Use": said.out_of_scope}),
        "Bias, Risks, and Limitations": _limitations(model, said),
        "How to Get Started with the Model": f"In the bundle's folder:\n\n```python\n{CODE.strip()}\n```",
        "Training Details": _parts(
            {"Training Data": _data(said, facts), "Training Procedure": _fitting(facts)}
        ),
        "Evaluation": _evaluation(facts),
        "Gates": gate_table(facts.evidence),
        "Ablation": _ablation(facts.ablation),
        "Inputs": _inputs(model),
        "Provenance": _provenance(facts.environment),
    }
    body = (f"## {title}\n\n{text.strip()}" for title, text in sections.items())
    return "\n\n".join([_front(model, said, facts), f"# {model.contract.model}", *body]) + "\n"


def gate_table(evidence: Evidence) -> str:
    """The verdicts as a Markdown table."""
    return _table(
        ("gate", "verdict", "found", "threshold", "because"),
        (
            (f"{item.code} {item.title}", item.verdict, item.value, item.threshold, item.reason)
            for item in evidence.verdicts
        ),
    )


def _front(model: Model, said: Card, facts: CardFacts) -> str:
    contract = model.contract
    finite = {name: value for name, value in sorted(facts.metrics.items()) if math.isfinite(value)}
    result = {
        "task": {"type": TASK, "name": contract.target},
        "dataset": {
            "type": said.dataset,
            "name": said.dataset,
            "split": "test",
            "revision": facts.environment.held_out,
        },
        "metrics": [
            {"type": HUB_METRICS.get(name, name), "value": value, "name": name}
            for name, value in finite.items()
        ],
    }
    front = {
        "language": [LANGUAGE],
        **({"license": said.license} if said.license else {}),
        "library_name": "onnx",
        "pipeline_tag": TASK,
        "tags": [TASK, "onnx", "scikit-learn", *said.tags],
        # By the name it is published under; whether the Hub holds it, too, only a push finds out.
        **({"datasets": [said.dataset]} if model.card else {}),
        "metrics": [HUB_METRICS[name] for name in finite if name in HUB_METRICS],
        "model-index": [{"name": contract.model, "results": [result]}],
    }
    return f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---"


def _parts(parts: Mapping[str, str]) -> str:
    return "\n\n".join(f"### {title}\n\n{text.strip()}" for title, text in parts.items())


def _details(model: Model, said: Card) -> str:
    contract = model.contract
    lead = f", {contract.lead_minutes} minutes ahead" if contract.lead_minutes else ""
    scores = "probabilities" if contract.scores == "probability" else "decision values, not probabilities"
    lines = {
        "Answers": f"{contract.target}: {', '.join(contract.classes)}{lead}",
        "Scores": scores,
        "Inputs": f"{len(contract.features)}, listed below",
        "Form": "one ONNX graph, preprocessing included",
        "License": said.license or "not declared",
    }
    return "\n".join([said.summary.strip(), "", *(f"- **{name}:** {text}" for name, text in lines.items())])


def _data(said: Card, facts: CardFacts) -> str:
    environment = facts.environment
    notes = {
        "train": "fitted on",
        "validation": "stop the learner early, where it has iterations",
        "test": f"held out: judged on, never learnt from{_span(facts)}",
    }
    rows = ((part, f"{facts.rows[part]:,}", note) for part, note in notes.items())
    return "\n\n".join(
        [
            said.training_data.strip(),
            f"**License of the data.** {said.dataset_license.strip()}",
            _table(("part", "rows", "what for"), rows),
            f"As of {environment.as_of}; nothing that was known only later is used.",
        ]
    )


def _fitting(facts: CardFacts) -> str:
    values = ", ".join(f"{name} {value}" for name, value in facts.params.items())
    return f"- **Hyperparameters:** {values}\n- **Seed:** {facts.environment.seed}"


def _evaluation(facts: CardFacts) -> str:
    columns = (facts.metrics, facts.rivals["simple"], facts.rivals["baseline"])
    compared = _table(
        ("metric", "model", "simple model", "baseline"),
        ((name, *(_cell(found.get(name)) for found in columns)) for name in sorted(facts.metrics)),
    )
    metric = facts.ablation.metric
    by_slice = _table(
        ("slice", "rows", f"{metric} [95 % interval]", "base rate", "roc_auc", "calibration_error"),
        (
            (
                part.name,
                f"{part.rows:,}",
                f"{_cell(part.loss)} [{_cell(part.lower)}, {_cell(part.upper)}]",
                *(
                    "-" if math.isnan(value) else _cell(value)
                    for value in (part.base_rate, part.roc_auc, part.calibration_error)
                ),
            )
            for part in facts.slices
        ),
    )
    several = "" if len(facts.slices) > 1 else " The model declares no slice."
    return _parts(
        {
            "Testing Data, Factors & Metrics": (
                f"{facts.rows['test']:,} held-out rows{_span(facts)}, {len(facts.slices)} slices of them, "
                f"and {len(facts.metrics)} metrics: {', '.join(sorted(facts.metrics))}.{several}"
            ),
            "Results": "By the graph that ships, beside a simple model and the classes' shares.\n\n"
            + compared,
            "Results by Slice": (
                f"Intervals are drawn by {'days' if facts.by_day else 'rows'}.\n\n{by_slice}"
            ),
        }
    )


def _span(facts: CardFacts) -> str:
    """The days of the held-out rows, where rows have a time."""
    return f", from {facts.test_from:%Y-%m-%d} to {facts.test_until:%Y-%m-%d}" if facts.by_day else ""


def _ablation(found: Ablation) -> str:
    if not found.groups:
        return "The model declares no group of features."
    ranked = sorted(found.groups.items(), key=lambda item: -item[1].gain)
    metric = found.metric
    text = (
        f"What each group of features adds: the {metric} ({UNITS[metric]}) on the held-out rows without the "
        f"group, less that with it. Above zero the group helps; an interval that holds zero leaves it open. "
        f"What two groups share is credited to neither. Every model here was trained on the same "
        f"{found.rows:,} training rows, evenly spaced: the full one's {metric} is {found.full:.4f}, which is "
        f"not that of the model that ships."
    )
    return "\n\n".join(
        [
            text,
            _table(
                ("group", "adds", "95 % interval"),
                (
                    (name, f"{item.gain:+.4f}", f"[{item.lower:+.4f}, {item.upper:+.4f}]")
                    for name, item in ranked
                ),
            ),
        ]
    )


def _limitations(model: Model, said: Card) -> str:
    groups = f"Groups that must fare alike: those of {', '.join(model.fair_by)}." if model.fair_by else ""
    return f"{said.limitations.strip()}\n\n{groups}"


def _inputs(model: Model) -> str:
    groups = {name: group for group, names in model.feature_groups.items() for name in names}
    return _table(
        ("feature", "source", "group", "meaning", "unit"),
        (
            (item.name, item.source, groups.get(item.name, ""), item.description, item.unit)
            for item in model.contract.features
        ),
    )


def _provenance(environment: Environment) -> str:
    versions = {"Python": environment.python, **environment.libraries, **environment.trained_with}
    lines = {
        "As of": environment.as_of,
        "Fitted until": environment.fit_until,
        "Seed": str(environment.seed),
        "Parameters (sha256)": f"`{environment.params}`",
        "Training data (sha256)": f"`{environment.data}`",
        "Held-out rows (sha256)": f"`{environment.held_out}`",
        "Built with": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "Commit and date": "in `provenance.json`, signed at registration beside the bundle",
    }
    return "\n".join(f"- **{name}:** {text}" for name, text in lines.items())


def _silent(name: str) -> Card:
    text = f"*Not declared: write `card` in training/models/{name}.py.*"
    return Card(text, text, text, text, text, dataset="not-declared", dataset_license=text, license="")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(_row(*cells) for cells in (head, ("---",) * len(head), *rows))


def _row(*cells: str) -> str:
    plain = (" ".join(cell.split()).replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(plain)} |"


def _cell(value: float | None) -> str:
    """A number as written in every table; an absent one is a dash, one that broke stays `nan`."""
    return "-" if value is None else f"{value:.4f}"
