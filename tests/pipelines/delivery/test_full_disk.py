"""A deployer whose disk is full says that: it is no fault of MLflow's, and none of the version's."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.delivery.registry import REFUSED
from pipelines.promote import promote
from tests import disks
from tests.pipelines.delivery import graphs
from tests.pipelines.delivery.agreement import agrees, environment
from tests.pipelines.delivery.conftest import World, quiet


@pytest.mark.slow
def test_a_promotion_for_which_there_is_no_room_names_the_disk(world: World, tmp_path: Path) -> None:
    """The release cannot be fetched: one sentence, production goes on, the version is not refused for it."""
    if not disks.namespaces():
        pytest.skip("this machine lets no process mount a file system")
    model = "roomless"
    world.promote(model)
    world.stage(model, **graphs.alike(model))
    releases = world.settings.releases
    mount = disks.mounting(releases, tmp_path, 1)
    done = subprocess.run(
        [
            *("unshare", "-rm", "sh", "-c"),
            f'{mount} && cat /dev/zero >{releases}/filler 2>{releases}/said; exec "$@"',
            *("sh", sys.executable, "-m", "pipelines.promote", model, "--version", "2"),
        ],
        env=environment(world.settings),
        cwd=world.settings.checkout,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1
    assert re.fullmatch(
        rf"error: fetching \w+ of run \w+ failed: the disk of this machine has no room for {releases}; .*\n",
        done.stderr,
    )
    assert REFUSED not in world.registry.by_number(model, "2").tags
    agrees(world, model, "1")
    promote(model, world.settings, "2", actor="ada", say=quiet)
    agrees(world, model, "2")
