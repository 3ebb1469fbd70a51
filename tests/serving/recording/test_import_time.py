"""What a service need not wait for when it starts (S8: the time to its first answer)."""

import subprocess
import sys

SERVICE = (
    "serving.process, serving.service, serving.http.app, serving.http.hot, serving.recording.tables, "
    "serving.recording.mirror, "
    "serving.grpc.server"
)


def test_a_service_has_no_table_library() -> None:
    """Polars would take 25 MB, a pool of threads and a quarter of a second of it."""
    program = f"import sys, {SERVICE}; sys.exit('polars' in sys.modules or 'pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=120, check=False).returncode == 0
