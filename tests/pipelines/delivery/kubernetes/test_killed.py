"""A deployer killed in the middle of a rollout on a cluster: callers are answered, and one look repairs."""

import json
import shutil
import signal
import subprocess
import sys

import psutil
import pytest

from pipelines.machine.settings import ROOT
from pipelines.promote import promote
from pipelines.reconcile import reconcile
from pipelines.rollback import rollback
from tests.pipelines.delivery import graphs
from tests.pipelines.delivery.agreement import agrees, answered, deployer, environment
from tests.pipelines.delivery.conftest import World, quiet
from tests.pipelines.delivery.kubernetes.fake_cluster import CONTEXT, FakeCluster
from tests.pipelines.delivery.test_processes import eventually

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


def goes_on(cluster: FakeCluster) -> bool:
    """A cluster carries out what it was told, whether or not anybody waits for it; whether it could."""
    where = (f"--context={CONTEXT}", "--namespace=flightline-production")
    words = ("rollout", "status", "deployment/flightline", "--timeout=60s")
    kubectl = [str(cluster.folder / "bin/kubectl"), *where, *words]
    return subprocess.run(kubectl, capture_output=True, timeout=120, check=False).returncode == 0


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
        assert goes_on(cluster), effect
        assert answered(world, model) <= {"1", "2"}, effect
        reconcile(world.settings, quiet, [model])
        if agrees(world, model) == "1":
            promote(model, world.settings, "2", actor="ada", say=quiet)
        agrees(world, model, "2")


# The applies of a rollout, in order: what runs, the version beside it, as a shadow, as a canary, to all.
BESIDE, TO_ALL = 2, 5


def killed_half_way(world: World, cluster: FakeCluster, model: str, apply: int) -> psutil.Process:
    """A deployer killed (SIGKILL) while its `apply`-th kubectl apply is half way; that kubectl lives on."""
    cluster.hold(apply)
    words = [sys.executable, "-m", "tests.pipelines.delivery.killed", "0", model, "2"]
    deployer = subprocess.Popen(
        words, cwd=ROOT, env=environment(world.settings), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    with deployer:
        stopped = eventually(lambda: cluster.held() or deployer.poll() is not None, 120)
        deployer.kill()
        said = deployer.stdout.read() if deployer.stdout else b""
    assert stopped, said
    assert deployer.returncode == -signal.SIGKILL, said
    return psutil.Process(cluster.held())


def test_a_deployer_killed_inside_kubectl_leaves_half_of_it_that_one_look_puts_in_order(
    clustered: tuple[World, FakeCluster],
) -> None:
    """Where kubectl lives on, the rest comes after all was put right; where it does not, never (C8)."""
    world, cluster = clustered
    model = "killed-inside"
    world.promote(model)
    world.stage(model, **graphs.alike(model))

    kubectl = killed_half_way(world, cluster, model, TO_ALL)
    cluster.configure(loading=False)  # both releases are in the pods' volumes by now, and were verified
    assert half_applied(cluster)
    reconcile(world.settings, quiet, [model])
    agrees(world, model, "1")
    cluster.let_go()
    assert eventually(lambda: gone(kubectl))
    assert not goes_on(cluster)  # the state that these pods are to start with was tidied up meanwhile
    assert answered(world, model) == {"1"}
    assert world.reconcile()["*"] == "repaired"
    assert goes_on(cluster)
    agrees(world, model, "1")

    kubectl = killed_half_way(world, cluster, model, BESIDE)
    kubectl.kill()
    assert eventually(lambda: gone(kubectl))
    assert half_applied(cluster)
    assert answered(world, model) == {"1"}
    reconcile(world.settings, quiet, [model])
    agrees(world, model, "1")
    promote(model, world.settings, "2", actor="ada", say=quiet)
    agrees(world, model, "2")


def gone(process: psutil.Process) -> bool:
    """Whether a process has ended; nobody may have asked how, where its parent was killed."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def half_applied(cluster: FakeCluster) -> bool:
    """Whether more is desired than the Deployment was told."""
    desired = json.loads(cluster.one("configmap/flightline-desired")["data"]["desired.json"])
    told = cluster.one("deployment/flightline")["metadata"]["annotations"]["flightline/generation"]
    return int(told) < desired["generation"]


def kind(effect: str) -> str:
    """An effect without what is made up anew each time."""
    return next(point for point in POINTS if point in effect)
