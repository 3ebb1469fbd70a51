"""The relay on a disk that is full: it says so, stays, and takes deliveries again when there is room."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from contract.errors import FlightlineError
from pipelines.promotion.deliveries import Deliveries, last_delivery
from pipelines.promotion.webhooks import Delivery, secret
from tests import disks
from tests.pipelines.delivery.conftest import settings_in
from tests.pipelines.delivery.test_processes import eventually
from tests.pipelines.promotion.relays import DELIVERY, Probe


@contextmanager
def on_a_small_disk(probe: Probe) -> Iterator[tuple["subprocess.Popen[bytes]", Path]]:
    """The relay's own process, and its `var`, log included, on a disk of one megabyte as others see it."""
    settings = probe.settings
    secret(settings)
    settings.logs.mkdir(parents=True)
    kept = shutil.copytree(settings.var, settings.var.with_name("kept"))
    mount = disks.mounting(settings.var, kept, 1)
    shell = f'{mount} && exec "$@" >>{settings.logs}/relay.log 2>&1'
    relay = subprocess.Popen(
        ["unshare", "-rm", "sh", "-c", shell, "sh", sys.executable, "-m", "pipelines.relay"],
        cwd=settings.checkout,
        env={**os.environ, **settings.variables()},
    )
    try:
        assert eventually(lambda: alive(probe) is not None, 60)
        var = disks.seen(relay.pid, settings.var)
        assert os.statvfs(var).f_blocks * os.statvfs(var).f_frsize == 2**20, "it is the machine's own disk"
        yield relay, var
    finally:
        relay.terminate()
        relay.wait(30)


def alive(probe: Probe) -> dict[str, object] | None:
    """What the relay says of itself, if it answers."""
    try:
        answer = httpx.get(f"http://127.0.0.1:{probe.settings.relay_port}/livez", trust_env=False)
    except httpx.TransportError:
        return None
    assert answer.status_code == 200
    return dict(answer.json())


def test_a_relay_on_a_full_disk_loses_nothing_that_it_accepted(probe: Probe) -> None:
    """What it cannot keep it answers with 503, which MLflow sends again; with room it goes on by itself."""
    if not disks.namespaces():
        pytest.skip("this machine lets no process mount a file system")
    with on_a_small_disk(probe) as (relay, var):
        assert probe.send(identity="before-it-was-full").status_code == 202
        disks.fill(var / "filler")
        disks.fill(var / "logs" / "relay.log")  # whose last page has room of its own
        for number in range(3):
            answer = probe.send(identity=f"while-it-is-full-{number}")
            assert answer.status_code == 503
            error = answer.json()["error"]
            assert f"{probe.settings.var}/relay/deliveries.db cannot be read or written" in error["found"]
            assert error["expected"] == "a disk that takes one delivery more"
        assert probe.send(key="guessed").status_code == 401  # judged as ever, though it cannot be logged
        said = alive(probe)
        assert said is not None
        assert (said["pending"], "one delivery more" in str(said["trouble"])) == (1, True)
        assert relay.poll() is None
        (var / "filler").unlink()
        assert eventually(lambda: alive(probe) == {"pending": 1, "trouble": ""}, 20)
        assert probe.send(identity="while-it-is-full-1").status_code == 202
        assert probe.send(identity="before-it-was-full").status_code == 409  # nothing was forgotten
        assert alive(probe) == {"pending": 2, "trouble": ""}
        assert b"Traceback" not in (var / "logs" / "relay.log").read_bytes()


def test_what_was_done_and_cannot_be_written_down_is_not_done_twice(
    probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A workflow that was asked for is not asked for again every few seconds, for want of room here."""
    tries: list[str] = []

    def full(_: Deliveries, delivery: Delivery) -> None:
        tries.append(delivery.id)
        raise FlightlineError("no room", "some", "Make room")

    with probe.running():
        with monkeypatch.context() as patch:
            patch.setattr(Deliveries, "done", full)
            assert probe.send().status_code == 202
            assert eventually(lambda: len(tries) >= 2)
        assert eventually(lambda: not Deliveries(probe.settings.var / "relay" / "deliveries.db").pending())
    assert probe.acted == [DELIVERY.id]
    assert sum("cannot be written down" in line for line in probe.said) == 1


@pytest.mark.unit
def test_a_damaged_file_of_deliveries_is_a_sentence(tmp_path: Path) -> None:
    """With what to do about it, for the relay as for whoever looks."""
    path = settings_in(tmp_path / "var").var / "relay" / "deliveries.db"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no database at all" * 100)
    for call in (lambda: Deliveries(path).pending(), lambda: last_delivery(path)):
        with pytest.raises(FlightlineError, match=r"is damaged .*Remove it"):
            call()
