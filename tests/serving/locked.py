"""Environments of `tests/clients`, each made from its own lock file."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.serving.real import ROOT

CLIENTS = ROOT / "tests/clients"
UV = shutil.which("uv", path=f"{ROOT / '.uv/bin'}{os.pathsep}{os.environ.get('PATH', '')}")


def locked(name: str) -> Path:
    """The environment of the project `name`, made or brought up to date."""
    assert UV, "uv is missing; `make test` brings it"
    place = ROOT / "var/clients" / name
    environment = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    environment |= {"UV_PROJECT_ENVIRONMENT": str(place), "UV_PYTHON_DOWNLOADS": "never"}
    made = subprocess.run(
        [UV, "sync", "--frozen", "--quiet"],
        cwd=CLIENTS / name,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    return place
