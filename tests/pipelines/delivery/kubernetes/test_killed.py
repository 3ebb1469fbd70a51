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

pytestmark = [pytest.mark.kubectl, pytest.mark.slow, pytest.mark.timeout(3000)]

MOST = 60  # effects that no rollout comes near
POINTS = (
    "rollouts/killed-there",  # the note that a rollout is under way, made and taken away
    "attestations/manifest.json",  # which completes a release in the storage
    "kubectl replace",
    "kubectl apply",
    "ledger.jsonl",
    "ledger.head",
    "pending-aliases/",
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
    promote(model, world.settings, "2", actor="ada", say=quiet)
    rollback(model, world.settings, say=quiet)
    cluster.configure(loading=False)  # both releases are in the pods' volumes by now, and were verified
    table: list[str] = []
    for number in range(1, MOST):
        shutil.rmtree(cluster.folder.parent / "storage" / second.digest)
        done = deployer(world, number, model)
        point = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr[-500:]
        table.append(point)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert point.startswith(f"effect {number}:"), point
        goes_on(cluster)
        assert answered(world, model) <= {"1", "2"}, point
        reconcile(world.settings, quiet, [model])
        if agrees(world, model) == "1":
            promote(model, world.settings, "2", actor="ada", say=quiet)
        agrees(world, model, "2")
        rollback(model, world.settings, say=quiet)
        agrees(world, model, "1")
    else:
        pytest.fail(f"a rollout did not end within {MOST} effects: {table}")
    agrees(world, model, "2")
    names = "\n".join(table)
    for point in POINTS:
        assert point in names, names
