"""validate: raw tables -> sound tables; every rejected row is kept, counted and explained."""

from pipelines.building.artifacts import Artifacts, read_tables, write_json, write_table
from pipelines.building.stage import fresh, stage_main
from pipelines.cli import command
from training import model as models
from training.validation import check_all


def validate(name: str) -> str:
    """Write `checked/TABLE.parquet`, `rejected/TABLE.parquet` and `validation.json`."""
    model, artifacts = models.load(name), Artifacts.of(name)
    checked = check_all(read_tables(artifacts.raw), model.rules)
    folder, rejects = fresh(artifacts.checked), fresh(artifacts.rejected)
    report = {}
    for table, result in checked.items():
        write_table(folder / f"{table}.parquet", result.sound)
        write_table(rejects / f"{table}.parquet", result.rejected)
        report[table] = {
            "sound": result.sound.height,
            "rejected": result.rejected.height,
            "rules": {
                rule: {"caught": caught, "because": result.reasons[rule]}
                for rule, caught in result.counts.items()
            },
        }
    write_json(artifacts.validation, report)
    sound = sum(result.sound.height for result in checked.values())
    rejected = sum(result.rejected.height for result in checked.values())
    caught = {rule: n for result in checked.values() for rule, n in result.counts.items() if n}
    detail = ", ".join(f"{rule} {n:,}" for rule, n in sorted(caught.items())) or "nothing to explain"
    return f"{sound:,} rows sound, {rejected:,} rejected ({detail})"


main = stage_main("validate", __doc__ or "", validate)

if __name__ == "__main__":
    command(main)
