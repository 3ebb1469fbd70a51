"""A release of a built model that a service trusts, signed by a key that nobody keeps."""

import shutil
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.serving.contenders import Place
from contract.attestation import Trust, sign, trusted_key
from contract.bundle import open_bundle
from contract.errors import FlightlineError
from contract.statements import ManifestStatement
from contract.strict import encode_json
from serving.models.desired import Desired, DesiredModel, write_desired


def prepare(bundle: Path, folder: Path) -> Place:
    """Everything below `folder` that serving the bundle takes.

    Raises:
        FlightlineError: there is no bundle.
    """
    if not bundle.is_dir():
        raise FlightlineError(f"{bundle} does not exist", "a built model", "Run: make train")
    opened = open_bundle(bundle)
    release = folder / "release"
    shutil.copytree(bundle, release / "bundle")
    (release / "attestations").mkdir()
    key = Ed25519PrivateKey.generate()
    statement = ManifestStatement(model=opened.model, digest=opened.digest)
    (release / "attestations" / "manifest.json").write_bytes(sign(statement, "manifest", key))
    trust = folder / "trust.json"
    trust.write_bytes(encode_json(Trust(keys=(trusted_key("trainer", key.public_key()),))))
    state = folder / "state"
    state.mkdir()
    model = DesiredModel.of("1", str(release.absolute()), opened.digest)
    write_desired(state, Desired(generation=1, default=opened.model, models={opened.model: model}))
    return Place(bundle=(release / "bundle").absolute(), work=folder / "work", state=state, trust=trust)


def rows(bundle: Path) -> list[dict[str, Any]]:
    """The golden rows, as a caller would send them."""
    return [dict(item.row) for item in open_bundle(bundle).golden.rows]
