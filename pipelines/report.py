"""report: what a person looks at to judge the run, each as a picture and as data."""

from pipelines.building.artifacts import Artifacts, read_json, read_table, write_json
from pipelines.building.config import params
from pipelines.building.facts import Facts
from pipelines.building.stage import fresh, stage_main
from pipelines.cli import command
from pipelines.evaluate import answers_of
from training import diagnostics, pictures
from training import model as models
from training.ablation import Ablation
from training.evaluation import blocks, loss_name
from training.gates.verdict import Evidence
from training.learning import target
from training.model import Curve


def report(name: str) -> str:
    """Write `report/`: NAME.png, and where it is a curve or a set of bars, NAME.json for `dvc plots`."""
    model, seed, artifacts = models.load(name), params(name).seed, Artifacts.of(name)
    contract = model.contract
    curve = read_json(artifacts.curve, Curve)
    metrics = read_json(artifacts.metrics, dict[str, float])
    rivals = read_json(artifacts.rivals, dict[str, dict[str, float]])
    verdicts = read_json(artifacts.evidence, Evidence).verdicts
    ablation = read_json(artifacts.ablation, Ablation)
    test = read_table(artifacts.split / "test.parquet")
    label, scores = target(test), answers_of(read_table(artifacts.predictions), contract)
    days = blocks(test, by_day=read_json(artifacts.facts, Facts).kind == "time")

    bins = diagnostics.reliability(label, scores, contract, days, seed)
    points = diagnostics.roc(label, scores, contract)
    trades = diagnostics.precision_recall(label, scores, contract)
    parts = diagnostics.slice_table(
        test, label, scores, contract, slices=model.slices, blocks=days, seed=seed
    )
    shown = {item: (label == index, scores[:, index]) for index, item in diagnostics.shown_classes(contract)}
    areas = {item: diagnostics.roc_auc(*pair) for item, pair in shown.items()}
    precisions = {item: diagnostics.average_precision(*pair) for item, pair in shown.items()}
    shares = {item: float(hit.mean()) for item, (hit, _) in shown.items()}
    nan = float("nan")
    compared: list[dict[str, float | str]] = [
        {
            "metric": metric,
            "model": metrics[metric],
            **{rival: rivals[rival].get(metric, nan) for rival in ("simple", "baseline")},
        }
        for metric in sorted(metrics)
    ]
    tables = {
        "loss": [
            {"iteration": number, "training": pair[0], "validation": pair[1]}
            for number, pair in enumerate(zip(curve.train, curve.validation, strict=False))
        ],
        "reliability": bins,
        "roc": points,
        "precision_recall": trades,
        "slices": parts,
        "feature_groups": [
            {"group": group, "gain": item.gain, "lower": item.lower, "upper": item.upper}
            for group, item in sorted(ablation.groups.items(), key=lambda item: -item[1].gain)
        ],
        "comparison": compared,
    }
    error = metrics.get("calibration_error", nan)
    images = {
        "loss": pictures.loss_curve(name, curve),
        "reliability": pictures.reliability_diagram(name, bins, contract.classes[-1], error),
        "roc": pictures.roc_curve(name, points, areas),
        "precision_recall": pictures.precision_recall_curve(name, trades, precisions, shares),
        "slices": pictures.slice_plot(name, parts, loss_name(contract)),
        "feature_groups": pictures.ablation_bars(name, ablation),
        "comparison": pictures.comparison_picture(name, compared),
        "gates": pictures.gate_picture(name, verdicts),
    }
    folder = fresh(artifacts.report)
    for title, table in tables.items():
        write_json(folder / f"{title}.json", table)
    for title, image in images.items():
        (folder / f"{title}.png").write_bytes(image)
    return f"{len(images)} pictures, {len(tables)} tables"


main = stage_main("report", __doc__ or "", report)

if __name__ == "__main__":
    command(main)
