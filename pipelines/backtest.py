"""backtest: one training after another as the pipeline would have made it, judged by its gates and by time.

For a model split by time: as of `as_of` and the same moment of the following months, and how three ways of
retraining would have done in each month: never, every month, and when the monitoring decides. For a model
split at random: by one split seed after another. It backs the ranges that policy.yaml quotes beside its
thresholds.
"""

import argparse
from pathlib import Path

import msgspec

from contract.errors import FlightlineError
from contract.strict import decode_json
from pipelines.backtesting.findings import Findings, backtest
from pipelines.backtesting.picture import draw
from pipelines.backtesting.report import parts
from pipelines.backtesting.trainings import MONTHS, SPLITS
from pipelines.building.config import params
from pipelines.cli import OK, command
from pipelines.machine.files import replace
from pipelines.machine.generated import fill
from training import model as models

DOCUMENT, DATA = Path("docs/backtest.md"), Path("docs/backtest.json")
DIGITS = 6  # of what is kept: more would change with the machine's rounding


def write(found: dict[str, Findings]) -> list[Path]:
    """Put the findings into the document, the data and the picture of each model; what others found stays.

    All of it is made before anything is written.

    Raises:
        FlightlineError: the document lacks a part.
    """
    others = DATA.exists() and set(models.names()) - set(found)
    kept = {**read(DATA), **found} if others else found
    text = DOCUMENT.read_text("utf-8")
    for model, item in found.items():
        text = fill(text, {f"{model}.{name}": body for name, body in parts(model, item).items()})
    pictures = {
        picture(model): draw(model, item.comparison)
        for model, item in found.items()
        if item.comparison is not None
    }
    data = msgspec.json.format(msgspec.json.encode(kept), indent=1) + b"\n"
    files = {**pictures, DATA: data, DOCUMENT: text.encode()}
    for path, content in files.items():
        replace(path, content)
        path.chmod(0o644)
    return list(files)


def read(path: Path) -> dict[str, Findings]:
    """The findings that were kept, by model."""
    return decode_json(path.read_bytes(), dict[str, Findings], str(path))


def picture(model: str) -> Path:
    """Where the picture of a model's strategies is kept."""
    return DOCUMENT.with_name(f"backtest-{model}.svg")


def rounded(found: Findings) -> Findings:
    """The findings with `DIGITS` decimals: what is shown and what is kept are the same."""
    plain = msgspec.to_builtins(found)
    return msgspec.convert(_rounded(plain), Findings)


def main(argv: list[str] | None = None) -> int:
    """Backtest one model or all."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.backtest",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m pipelines.backtest --model flights --write",
    )
    parser.add_argument("--model", help=f"one of {', '.join(models.names())} (all)")
    parser.add_argument("--runs", type=int, help=f"how many trainings ({MONTHS} months or {SPLITS} splits)")
    parser.add_argument("--write", action="store_true", help=f"put everything into {DOCUMENT} and beside it")
    parser.add_argument("--json", action="store_true", help="for a program to read")
    options = parser.parse_args(argv)
    if options.runs is not None and options.runs < 1:
        raise FlightlineError(f"--runs is {options.runs}", "at least one training", "Leave it out")
    names = [options.model] if options.model else models.names()
    for name in names:
        params(name)  # a misspelt model or key is refused before anything is trained
    found = {name: rounded(backtest(name, options.runs)) for name in names}
    if options.json:
        print(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    elif not options.write:
        for name, item in found.items():
            print(f"# {name}\n\n" + "\n\n".join(parts(name, item).values()))
    if options.write:
        for path in write(found):
            print(f"wrote {path}") if not options.json else None
    return OK


def _rounded(value: object) -> object:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return round(value, DIGITS) if isinstance(value, float) else value


if __name__ == "__main__":
    command(main)
