"""Keys and secrets are replaced by one command; what was signed before is believed while that is wanted."""

import json
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.fernet import Fernet, InvalidToken

from contract.attestation import read_trust, sign, verify
from contract.errors import BundleError, ConfigError, FlightlineError
from contract.statements import ManifestStatement
from pipelines import keys as command
from pipelines.delivery import replacing
from pipelines.delivery.keys import ensure_keys, new_key, private_key, shared_secret
from pipelines.delivery.replacing import replace_signing_key, replace_store_key
from pipelines.delivery.tracking_server import STORE_KEY
from pipelines.machine.settings import Settings
from pipelines.promote import promote
from pipelines.promotion.webhooks import secret
from tests.pipelines.delivery.conftest import World, quiet, settings_in

STATEMENT = ManifestStatement(model="toy", digest="0" * 64)


def believed(envelope: bytes, folder: Path) -> bool:
    """Whether the trust list of `folder` has the key that signed it."""
    try:
        verify(envelope, ManifestStatement, "manifest", "trainer", read_trust(folder / "trust.json"))
    except BundleError:
        return False
    return True


@pytest.mark.unit
def test_what_the_old_key_signed_is_believed_until_it_is_distrusted(tmp_path: Path) -> None:
    """The first replacement is routine; the second is for a key that others may have. Staging's stays."""
    staging = ensure_keys(tmp_path).keys[1]
    envelopes = [sign(STATEMENT, "manifest", private_key(tmp_path, "trainer"))]
    identity, trusted = replace_signing_key(tmp_path, "trainer")
    assert trusted == 2
    envelopes.append(sign(STATEMENT, "manifest", private_key(tmp_path, "trainer")))
    assert [believed(envelope, tmp_path) for envelope in envelopes] == [True, True]
    assert stat.S_IMODE((tmp_path / "trainer.pem").stat().st_mode) == 0o600
    assert json.loads(envelopes[1])["signatures"][0]["keyid"] == identity
    assert replace_signing_key(tmp_path, "trainer", distrust=True)[1] == 1
    envelopes.append(sign(STATEMENT, "manifest", private_key(tmp_path, "trainer")))
    assert [believed(envelope, tmp_path) for envelope in envelopes] == [False, False, True]
    assert staging in read_trust(tmp_path / "trust.json").keys
    assert not list(tmp_path.glob("*.next"))


@pytest.mark.unit
def test_a_replacement_that_is_cut_off_breaks_nothing_and_is_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the new key has its place the old one signs; the next call takes up what was prepared."""
    ensure_keys(tmp_path)
    with monkeypatch.context() as patch:
        (tmp_path / "trainer.pem.next").touch(mode=0o600)
        (tmp_path / "trainer.pem.next").write_bytes(new_key())
        patch.setattr(Path, "rename", interrupted)
        with pytest.raises(KeyboardInterrupt):
            replace_signing_key(tmp_path, "trainer")
    assert believed(sign(STATEMENT, "manifest", private_key(tmp_path, "trainer")), tmp_path)
    before = len(read_trust(tmp_path / "trust.json").keys)
    replace_signing_key(tmp_path, "trainer")
    assert believed(sign(STATEMENT, "manifest", private_key(tmp_path, "trainer")), tmp_path)
    assert len(read_trust(tmp_path / "trust.json").keys) == before


def interrupted(*_: object) -> None:
    """Ctrl-C before the last step."""
    raise KeyboardInterrupt


def database(settings: Settings, *rows: tuple[str, str | None]) -> None:
    """MLflow's table of webhooks, as far as it matters here."""
    settings.var.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(settings.mlflow_database)) as connection, connection:
        connection.execute("CREATE TABLE webhooks (webhook_id TEXT, name TEXT, secret TEXT)")
        values = [(name, name, text) for name, text in rows]
        connection.executemany("INSERT INTO webhooks VALUES (?, ?, ?)", values)


def stored(settings: Settings) -> dict[str, str | None]:
    """What is in it, by name."""
    with closing(sqlite3.connect(settings.mlflow_database)) as connection:
        return dict(connection.execute("SELECT name, secret FROM webhooks").fetchall())


@pytest.mark.unit
def test_webhooks_are_read_with_the_new_key_and_no_longer_with_the_old(tmp_path: Path) -> None:
    """Also after a kill between database and file, when some are under the one key and some under another."""
    settings = settings_in(tmp_path / "var")
    old = Fernet(shared_secret(settings.keys, STORE_KEY, Fernet.generate_key))
    following = Fernet.generate_key()
    (settings.keys / f"{STORE_KEY}.next").touch(mode=0o600)
    (settings.keys / f"{STORE_KEY}.next").write_bytes(following)
    done = Fernet(following).encrypt(b"done").decode()
    lost = Fernet(Fernet.generate_key()).encrypt(b"lost").decode()
    database(
        settings, ("ours", old.encrypt(b"ours").decode()), ("open", None), ("done", done), ("lost", lost)
    )
    said: list[str] = []
    assert replace_store_key(settings, said.append) == 2
    new = Fernet(shared_secret(settings.keys, STORE_KEY, Fernet.generate_key))
    found = stored(settings)
    assert found.keys() == {"ours", "open", "done"}
    assert {name: new.decrypt(text.encode()) for name, text in found.items() if text} == {
        "ours": b"ours",
        "done": b"done",
    }
    with pytest.raises(InvalidToken):
        old.decrypt(str(found["ours"]).encode())
    assert said == ["the webhook 'lost' is removed: its secret is under a key that is lost"]


@pytest.mark.unit
def test_the_key_of_an_mlflow_that_runs_or_is_not_ours_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has it in its memory, and would write with the old one."""
    settings = settings_in(tmp_path / "var")
    before = shared_secret(settings.keys, STORE_KEY, Fernet.generate_key)
    with monkeypatch.context() as patch:
        patch.setattr(replacing, "find", lambda *_: "it runs")
        with pytest.raises(FlightlineError, match=r"Run `make down` first"):
            replace_store_key(settings, quiet)
    with pytest.raises(FlightlineError, match="is not run from here"):
        replace_store_key(settings_in(tmp_path / "var", MLFLOW_TRACKING_URI="http://127.0.0.1:1"), quiet)
    assert shared_secret(settings.keys, STORE_KEY, Fernet.generate_key) == before


@pytest.mark.unit
def test_one_command_replaces_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And says what is to be done then; to distrust is about keys that sign."""
    settings = settings_in(tmp_path / "var")
    monkeypatch.setattr(Settings, "from_environment", lambda *_: settings)
    before = secret(settings)
    assert command.main(["webhook"]) == 0
    assert secret(settings) != before
    assert "the relay tells MLflow" in capsys.readouterr().out
    assert command.main(["mlflow", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["replaced"] == "mlflow"
    assert command.main(["staging", "--distrust"]) == 0
    assert "register and stage it again" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="--distrust is given for webhook"):
        command.main(["webhook", "--distrust"])


def test_a_version_of_the_old_keys_is_promoted_and_one_of_the_new_keys_after_it(world: World) -> None:
    """A routine replacement stops nothing: staging's evidence, the service and the deployer believe both."""
    world.stage("rekeyed")
    for role in ("trainer", "staging"):
        replace_signing_key(world.settings.keys, role)  # type: ignore[arg-type]
    promote("rekeyed", world.settings, actor="ada", say=quiet)
    world.promote("rekeyed", seed=1)
    assert world.serves("production", "rekeyed") == world.champion("rekeyed") == "2"
