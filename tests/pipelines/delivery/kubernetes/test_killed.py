"""A deployer killed in the middle of a rollout on a cluster: callers are answered, and one look repairs."""

import shutil
import signal
import subprocess

import pytest

from pipelines.promote import promote
from pipelines.reconcile import reconcile
from pipelines.rollback import rollback
from tests.pipelines.delivery import graphs
from tests.pipelines.delivery.agreement import agrees, answered, deployer
from tests.pipelines.delivery.conftest import World, quiet
from tests.pipelines.delivery.kubernetes.fake_cluster import CONTEXT, FakeCluster

pytestmark = [pytest.mark.kubectl, pytest.mark.slow, pytest.mark.timeout(3000), pytest.mark.lengthy]

# The effects that are others on a cluster, and those that must follow them in order. What comes before,
# fetching and verifying, is the same code for both and is killed in test_killed_rollouts.py.
POINTS = (
    "rollouts/killed-there",  # the note that a rollout is under way, made and taken away
    "storage/",  # the file that completes a release there
    "kubectl replace",
    "kubectl apply",
    "ledger.jsonl",
    "ledger.head",
    "registered-models/alias",
)


def goes_on(cluster: FakeCluster) -> None:
    """A cluster carries out what it was told, whether or not anybody waits for it."""
    where = (f"--context={CONTEXT}", "--namespace=flightline-production")
    words = ("rollout", "status", "deployment/flightline", "--timeout=60s")
    subprocess.run(
        [str(cluster.folder / "bin/kubectl"), *where, *words], capture_output=True, timeout=120, check=True
    )


def test_a_deployer_killed_before_any_effect_leaves_what_one_look_puts_in_order(
    clustered: tuple[World, FakeCluster],
) -> None:
    """The table of kill points on a cluster: kill -9, look, reconcile, look, run it again, look (C8)."""
    world, cluster = clustered
    model = "killed-there"
    world.promote(model)
    second = world.stage(model, **graphs.alike(model))
    stored = cluster.folder.parent / "storage" / second.digest
    shutil.rmtree(stored)  # where staging has put it
    uncut = deployer(world, 0, model)
    assert uncut.returncode == 0, uncut.stderr
    effects = [line for line in uncut.stdout.splitlines() if line.startswith("effect ")]
    chosen = [line for line in effects if any(point in line for point in POINTS)]
    assert all(any(point in line for line in chosen) for point in POINTS), effects
    cluster.configure(loading=False)  # both releases are in the pods' volumes by now, and were verified
    for effect in chosen:
        rollback(model, world.settings, say=quiet)
        agrees(world, model, "1")
        shutil.rmtree(stored)
        done = deployer(world, int(effect.split()[1].rstrip(":")), model)
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert kind(done.stdout.splitlines()[-1]) == kind(effect)
        goes_on(cluster)
        assert answered(world, model) <= {"1", "2"}, effect
        reconcile(world.settings, quiet, [model])
        if agrees(world, model) == "1":
            promote(model, world.settings, "2", actor="ada", say=quiet)
        agrees(world, model, "2")


def kind(effect: str) -> str:
    """An effect without what is made up anew each time."""
    return next(point for point in POINTS if point in effect)
