"""build: `dvc repro` for one model or all, with the settings checked first and one build at a time."""

import argparse
from pathlib import Path

from contract.errors import ConfigError
from pipelines.building.config import params, policy, read_yaml
from pipelines.building.repro import repro
from pipelines.cli import OK, command
from pipelines.machine.processes import Say
from training import model as models
from training.gates.policy import GatePolicy


def build(model: str | None, root: Path = Path(), say: Say = print) -> None:
    """Rebuild exactly what changed of `model`, or of every model.

    Raises:
        FlightlineError: there is no such model, its settings say something unknown, or a stage failed.
    """
    for name in [model] if model is not None else models.names():
        params(name)
        policy(name, "gates", GatePolicy)
        _require_stages(name, root / "dvc.yaml")
    repro(model, root, say)


def _require_stages(model: str, path: Path) -> None:
    """A model that DVC was not told of would be built by nobody."""
    stages = read_yaml(path).get("stages", {})
    lacking = [name for name, stage in stages.items() if model not in stage.get("foreach", [model])]
    if lacking:
        raise ConfigError(
            f"dvc.yaml does not build '{model}' in {', '.join(lacking)}",
            "every model under `foreach` of every stage",
            "Add its name there",
        )


def main(argv: list[str] | None = None) -> int:
    """Build what changed."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.build",
        description=__doc__,
        epilog="example: python -m pipelines.build iris",
    )
    parser.add_argument("model", nargs="?", help=f"one of {', '.join(models.names())} (all)")
    build(parser.parse_args(argv).model)
    return OK


if __name__ == "__main__":
    command(main)
