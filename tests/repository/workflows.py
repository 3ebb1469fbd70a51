"""What the tests of workflows share: where they are, and their jobs."""

from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ".github/workflows"


def workflows(root: Path) -> dict[str, dict]:
    """The parsed workflows by file name. PyYAML reads the key `on` as True."""
    return {path.name: yaml.safe_load(path.read_text()) for path in sorted((root / FOLDER).glob("*.yml"))}


def jobs(root: Path) -> list[tuple[str, dict]]:
    """Every job, with a name for messages."""
    return [
        (f"{file}: {name}", job)
        for file, workflow in workflows(root).items()
        for name, job in workflow["jobs"].items()
    ]
