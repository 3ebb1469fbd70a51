"""New keys and secrets in the place of old ones. What a kill cuts off is completed by the same command."""

import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from contract.attestation import Trust, key_id, read_trust, trusted_key
from contract.errors import FlightlineError
from contract.locks import exclusive
from contract.strict import encode_json
from pipelines.delivery.keys import TRUST, Role, ensure_keys, prepared, private_key, shared_secret
from pipelines.delivery.tracking_server import NAME as MLFLOW
from pipelines.delivery.tracking_server import STORE_KEY
from pipelines.machine.files import replace
from pipelines.machine.processes import Say, find
from pipelines.machine.settings import Settings


def replace_signing_key(folder: Path, role: Role, *, distrust: bool = False) -> tuple[str, int]:
    """Have `role` sign with a new key, which is trusted from now on; its id, and how many are trusted.

    What the old key signed is believed as before; with `distrust`, no key of the role but the new one is.
    """
    ensure_keys(folder)
    with exclusive(folder / ".lock", "making of keys"):
        trust = read_trust(folder / TRUST)
        # Trusted before it signs: the other way round a kill between the two would stop every deployment.
        with prepared(folder / f"{role}.pem") as path:
            new = trusted_key(role, private_key(folder, role, path).public_key())
            others = tuple(key for key in trust.keys if key != new)
            replace(folder / TRUST, encode_json(Trust(keys=(*others, new))))
        if distrust:
            others = tuple(key for key in others if key.role != role)
            replace(folder / TRUST, encode_json(Trust(keys=(*others, new))))
    trusted = sum(key.role == role for key in (*others, new))
    return key_id(private_key(folder, role).public_key()), trusted


def replace_secret(folder: Path, name: str, make: Callable[[], bytes]) -> None:
    """Have another secret in `folder/name`; who shares it reads it anew."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with exclusive(folder / ".lock", "making of keys"), prepared(folder / name, make):
        pass


def replace_store_key(settings: Settings, say: Say = print) -> int:
    """Have our MLflow keep webhooks' secrets under another key; how many it has now under that.

    Raises:
        FlightlineError: MLflow runs, which has the old key in its memory, or is not ours.
    """
    if not settings.owns_tracking:
        raise FlightlineError(
            f"MLflow at {settings.tracking_uri} is not run from here",
            "our own MLflow",
            "Replace the key where it runs",
        )
    if find(settings.processes, MLFLOW) is not None:
        raise FlightlineError(
            "MLflow runs with the key that is to be replaced", "it to be stopped", "Run `make down` first"
        )
    old = shared_secret(settings.keys, STORE_KEY, Fernet.generate_key)
    with (
        exclusive(settings.keys / ".lock", "making of keys"),
        prepared(settings.keys / STORE_KEY, Fernet.generate_key) as path,
    ):
        keys = [Fernet(path.read_bytes().strip())]
        with suppress(ValueError):  # a file that holds no key opens nothing
            keys.append(Fernet(old))
        return _encrypt_again(settings.mlflow_database, keys[0], MultiFernet(keys), say)


def _encrypt_again(database: Path, new: Fernet, either: MultiFernet, say: Say) -> int:
    """Every webhook's secret under the key `new`, whichever of both it is under now, all or none."""
    if not database.exists():
        return 0
    with closing(sqlite3.connect(database, timeout=10)) as connection, connection:
        table = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'webhooks'").fetchone()
        rows = connection.execute("SELECT webhook_id, name, secret FROM webhooks").fetchall() if table else []
        kept = 0
        for identity, name, secret in rows:
            if secret is None:
                continue
            try:
                text = new.encrypt(either.decrypt(secret.encode())).decode()
            except (
                InvalidToken
            ):  # MLflow could not list its webhooks with it, so that none would be delivered
                connection.execute("DELETE FROM webhooks WHERE webhook_id = ?", (identity,))
                say(f"the webhook '{name}' is removed: its secret is under a key that is lost")
                continue
            connection.execute("UPDATE webhooks SET secret = ? WHERE webhook_id = ?", (text, identity))
            kept += 1
    return kept
