"""package: everything a server or a monitor needs to know about the model, in one sealed folder."""

import hashlib
import shutil

import msgspec

from contract.bundle import Environment, seal
from contract.strict import encode_json
from pipelines.building.artifacts import Artifacts, existing, read_json, read_table, write_json, write_table
from pipelines.building.config import params, section
from pipelines.building.facts import Facts
from pipelines.building.stage import fresh, stage_main
from pipelines.cli import command
from pipelines.train import Versions
from training import model as models
from training.ablation import Ablation
from training.card import CardFacts, card
from training.diagnostics import Part
from training.gates.verdict import Evidence
from training.package import golden, reference


def package(name: str) -> str:
    """Write `bundle/`, sealed by its manifest."""
    model, wanted, artifacts = models.load(name), params(name), Artifacts.of(name)
    facts = read_json(artifacts.facts, Facts)
    versions = read_json(artifacts.versions, Versions)
    evidence = read_json(artifacts.evidence, Evidence)
    graph = existing(artifacts.model / "model.onnx")
    environment = Environment(
        python=versions.python,
        libraries=versions.libraries,
        trained_with=versions.trained_with,
        seed=wanted.seed,
        as_of=wanted.as_of.isoformat(),
        fit_until=facts.fit_until.isoformat(),
        params=hashlib.sha256(encode_json(section(name))).hexdigest(),
        data=facts.data,
        held_out=facts.held_out,
    )
    bundle = fresh(artifacts.bundle)
    shutil.copyfile(graph, bundle / "model.onnx")
    write_json(bundle / "contract.json", model.contract)
    write_json(bundle / "environment.json", environment)
    write_json(bundle / "evidence.json", evidence)
    content = graph.read_bytes()
    test = read_table(artifacts.split / "test.parquet")
    write_json(bundle / "golden.json", golden(content, model.contract, test))
    train = read_table(artifacts.split / "train.parquet")
    write_table(bundle / "reference.parquet", reference(content, model.contract, train, wanted.seed))
    about = CardFacts(
        environment=environment,
        params=msgspec.to_builtins(wanted.train),
        rows=facts.rows,
        test_from=facts.test_from,
        test_until=facts.test_until,
        by_day=facts.kind == "time",
        metrics=read_json(artifacts.metrics, dict[str, float]),
        rivals=read_json(artifacts.rivals, dict[str, dict[str, float]]),
        slices=read_json(artifacts.report / "slices.json", tuple[Part, ...]),
        ablation=read_json(artifacts.ablation, Ablation),
        evidence=evidence,
    )
    (bundle / "model_card.md").write_text(card(model, about), "utf-8")
    digest = seal(bundle, model.contract)
    return f"{sum(item.stat().st_size for item in bundle.iterdir()) / 1024:.0f} KiB, digest {digest[:12]}"


main = stage_main("package", __doc__ or "", package)

if __name__ == "__main__":
    command(main)
