"""What the cached stages do alike: `python -m pipelines.STAGE MODEL`."""

import argparse
import shutil
from collections.abc import Callable
from pathlib import Path

from pipelines.cli import OK
from training import model as models

Stage = Callable[[str], str]


def stage_main(name: str, purpose: str, stage: Stage) -> Callable[[list[str] | None], int]:
    """A `main` that parses the model's name, runs `stage` and prints the one line it returns."""

    def main(argv: list[str] | None = None) -> int:
        parser = argparse.ArgumentParser(
            prog=f"python -m pipelines.{name}",
            description=purpose,
            epilog=f"example: python -m pipelines.{name} iris",
        )
        parser.add_argument("model", help=f"one of {', '.join(models.names())}")
        model = parser.parse_args(argv).model
        models.load(model)
        print(f"{name} {model}: {stage(model)}", flush=True)
        return OK

    return main


def fresh(folder: Path) -> Path:
    """`folder`, empty: what an earlier run left there must not mix with this one's."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
