"""probe: what cannot be read from a run's files and has to be tried: a handful, leaks, the training again.

DVC runs it in a process of its own with another hash seed than the stage `train` had.
"""

from pipelines.building.artifacts import Artifacts, existing, read_table, read_tables, write_json
from pipelines.building.config import params
from pipelines.building.stage import fresh, stage_main
from pipelines.cli import command
from training import model as models
from training.gates.again import train_again
from training.gates.handful import memorise
from training.gates.leakage import Leakage, single_features
from training.gates.recomputed import differing, made_again, moments
from training.model import AT


def probe(name: str) -> str:
    """Write `probes/{handful,leakage,again}.json`, which the stage `gate` judges."""
    fresh(Artifacts.of(name).probes)
    return "; ".join(part(name) for part in (handful, leakage, again))


def handful(name: str) -> str:
    """G02: fit a handful of training rows with the model's own parameters."""
    wanted, artifacts = params(name), Artifacts.of(name)
    rows = read_table(artifacts.split / "train.parquet")
    found = memorise(models.load(name), rows, wanted.train, wanted.seed)
    write_json(artifacts.probes / "handful.json", found)
    return f"a handful learnt to a loss of {found.loss:.4f}"


def leakage(name: str) -> str:
    """G08: what each feature tells alone, and whether it is what was known at its moment."""
    model, artifacts = models.load(name), Artifacts.of(name)
    train, test = (read_table(artifacts.split / f"{part}.parquet") for part in ("train", "test"))
    at = moments(test, params(name).seed)
    remade = made_again(model, read_tables(artifacts.checked), test, at)
    rows = test[AT].is_in(at).sum()
    found = Leakage(
        single=single_features(train, test, model.contract),
        moments=len(at),
        rows=int(rows),
        lost=int(rows) - remade.height,
        differing=differing(remade, test, model.contract),
    )
    write_json(artifacts.probes / "leakage.json", found)
    return f"{len(found.differing)} features of {found.rows} rows are not what was known at {len(at)} moments"


def again(name: str) -> str:
    """G14: the same training once more."""
    model, wanted, artifacts = models.load(name), params(name), Artifacts.of(name)
    train, validation = (read_table(artifacts.split / f"{part}.parquet") for part in ("train", "validation"))
    shipped = existing(artifacts.model / "model.onnx").read_bytes()
    found = train_again(model, train, validation, wanted.train, wanted.seed, shipped=shipped)
    write_json(artifacts.probes / "again.json", found)
    return "the training again gives " + ("the same" if found.again == found.shipped else "another graph")


main = stage_main("probe", __doc__ or "", probe)

if __name__ == "__main__":
    command(main)
