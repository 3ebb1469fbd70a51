"""What a service need not wait for when it starts (S8: the time to its first answer)."""

import subprocess
import sys

from contract.predictions import COLUMNS
from serving.recording.answered import FACTS

SERVICE = (
    "serving.process, serving.service, serving.http.app, serving.http.hot, serving.recording.mirror, "
    "serving.grpc.server"
)


def test_nobody_waits_for_the_logs_library() -> None:
    """Polars is imported by the thread that writes the prediction log, and by nothing that answers."""
    program = f"import sys, {SERVICE}; sys.exit('polars' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=120, check=False).returncode == 0
    program = "import sys, serving.recording.tables; sys.exit('polars' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=120, check=False).returncode == 1


def test_the_columns_are_counted_without_it() -> None:
    """The number beside features and scores is the layout's."""
    assert len(COLUMNS) == FACTS
