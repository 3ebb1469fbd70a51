"""ablate: what each group of features adds on the held-out rows, by training without it."""

from pipelines.building.artifacts import Artifacts, read_json, read_table, write_json
from pipelines.building.config import params
from pipelines.building.facts import Facts
from pipelines.building.stage import stage_main
from pipelines.cli import command
from training import ablation
from training import model as models


def ablate(name: str) -> str:
    """Write `ablation.json`."""
    model, wanted, artifacts = models.load(name), params(name), Artifacts.of(name)
    found = ablation.ablate(
        model,
        read_table(artifacts.split / "train.parquet"),
        read_table(artifacts.split / "validation.parquet"),
        read_table(artifacts.split / "test.parquet"),
        params=wanted.train,
        seed=wanted.seed,
        rows=wanted.ablate.rows,
        by_day=read_json(artifacts.facts, Facts).kind == "time",
    )
    write_json(artifacts.ablation, found)
    gains = (f"{group} {item.gain:+.4f}" for group, item in found.groups.items())
    return f"{found.metric}, {found.rows:,} rows: {', '.join(gains) or 'no group is declared'}"


main = stage_main("ablate", __doc__ or "", ablate)

if __name__ == "__main__":
    command(main)
