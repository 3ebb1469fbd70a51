"""A deployer whose disk is full says that: it is no fault of MLflow's, and none of the version's."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.delivery.registry import REFUSED
from pipelines.promote import promote
from pipelines.rollback import rollback
from tests import disks
from tests.pipelines.delivery import graphs
from tests.pipelines.delivery.agreement import agrees, answered, deployer, environment
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


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.lengthy
def test_a_disk_that_fills_up_at_any_step_of_a_rollout_costs_the_rollout_alone(
    world: World,
) -> None:
    """The table of kill points: from each effect on nothing can be written. One sentence each time."""
    model = "filling-up"
    world.promote(model)
    world.stage(model, **graphs.alike(model))
    names = deployer(world, 0, model).stdout.splitlines()
    assert names[-1] == "done"
    rollback(model, world.settings, say=quiet)
    # What the disk has to do with; the names are the same each time, but for those of temporary files.
    points = [number for number, name in enumerate(names[:-1], 1) if "os.rename" in name or "open " in name]
    assert len(points) > 8, names
    failures = 0
    for number in points:
        point, done = names[number - 1], deployer(world, -number, model)
        assert "Traceback" not in done.stderr, (point, done.stderr)
        if done.returncode == 0:  # it had nothing left to write
            agrees(world, model, "2")
        else:
            failures += 1
            assert re.search("File too large|no room", done.stderr), (point, done.stderr)
        assert answered(world, model) <= {"1", "2"}, point
        world.reconcile()
        if agrees(world, model) == "2":
            rollback(model, world.settings, say=quiet)
            agrees(world, model, "1")
    assert failures > len(points) // 2
    promote(model, world.settings, "2", actor="ada", say=quiet)
    agrees(world, model, "2")
