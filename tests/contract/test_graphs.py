"""onnxruntime tells nobody what it does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from contract.graphs import TELEMETRY_OFF

ROOT = Path(__file__).parents[2]
OURS = "from contract.graphs import onnxruntime; library = onnxruntime()"
PLAIN = "import onnxruntime as library"
END = "import os; os._exit(0)"  # without the last attempts to send what there is


def left_behind(home: Path, how: str, **variables: str) -> list[str]:
    """Files below an empty home folder after a process that imported the library and asked it something."""
    home.mkdir()
    # Nothing of this process's: where CI is set the library holds still by itself.
    bare = {"PATH": os.defpath, "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run(
        [sys.executable, "-c", f"{how}; assert library.get_available_providers(); {END}"],
        cwd=ROOT,
        env={**bare, **variables},
        check=True,
        timeout=60,
    )
    return sorted(path.name for path in home.rglob("*") if path.is_file())


def test_telemetry_is_off_and_leaves_nothing_behind(tmp_path) -> None:
    """No database of events that wait to be sent: in a bare environment, too."""
    assert left_behind(tmp_path / "home", OURS) == []


@pytest.mark.parametrize("how", [PLAIN, OURS], ids=["plain", "ours"])
def test_the_library_itself_has_it_on_and_who_wants_it_may(how, tmp_path) -> None:
    """So that the test above would notice; where a release of the library has it off, this one may go."""
    variables = {TELEMETRY_OFF: "0"} if how == OURS else {}
    assert "onnxruntime.db" in left_behind(tmp_path / "home", how, **variables)
