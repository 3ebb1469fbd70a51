"""Production changes its version again and again while callers ask without a pause: nobody notices."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipelines.promote import promote
from pipelines.rollback import rollback
from tests.pipelines.delivery import graphs
from tests.pipelines.delivery.conftest import World, quiet

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(900)]

ROW = {"width": 1.5, "height": 0.25, "letter": "A"}
CONNECTIONS = 8
LONGEST_S = 600  # of the load, which ends with the changes
CHANGES = 20
# What was answered with anything but 200 is kept, and what was not answered at all is counted by wrk.
SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"row": %s}'
local threads = {}
function setup(thread) table.insert(threads, thread) end
function init() others = 0 end
function response(status) if status ~= 200 then others = others + 1 end end
function done(summary, latency)
  local errors, others = summary.errors, 0
  for _, thread in ipairs(threads) do others = others + thread:get("others") end
  io.write(string.format('\\n{"answered": %%d, "other": %%d, "broken": %%d, "p99_us": %%d, "max_us": %%d}\\n',
    summary.requests, others, errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(99), latency.max))
end
"""


@contextmanager
def load(url: str, folder: Path, wrk: str) -> Iterator[dict[str, int]]:
    """Requests without a pause from the second core; the block's value is filled when it has ended."""
    script = folder / "load.lua"
    script.write_text(SCRIPT % json.dumps(ROW))
    command = [
        "taskset",
        "-c",
        "1",
        wrk,
        "-t1",
        f"-c{CONNECTIONS}",
        f"-d{LONGEST_S}s",
        "-s",
        str(script),
        url,
    ]
    found: dict[str, int] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield found
        finally:
            process.send_signal(2)  # it stops, and reports
            out, _ = process.communicate(timeout=60)
    found.update(json.loads(out.strip().splitlines()[-1]))


def test_twenty_changes_lose_no_request(world: World, tmp_path: Path, require) -> None:
    """Ten promotions, each a whole rollout, and ten rollbacks: every request was answered with 200."""
    world.promote("loaded")
    world.stage("loaded", **graphs.alike("loaded"))
    took = []
    url = f"{world.settings.service_url('production')}/predict?model=loaded"
    with load(url, tmp_path, require("wrk")) as seen:
        for _ in range(CHANGES // 2):
            promoted = promote("loaded", world.settings, "2", actor="ada", say=quiet)
            began = time.monotonic()
            back = rollback("loaded", world.settings, say=quiet)
            took.append(time.monotonic() - began)
            assert (promoted.version, back.version) == ("2", "1")
            assert all(step.answered - step.probes > 0 for step in promoted.steps[1:])
    print(seen, [round(seconds, 2) for seconds in took])
    assert (seen["other"], seen["broken"]) == (0, 0)
    assert seen["answered"] > 10_000
    assert max(took) < 5
