"""G11's measurement: the bytes of a bundle, and the memory of a serving process that holds it."""

import json
import math
import shutil
import subprocess
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contract.attestation import Trust, sign, trusted_key
from contract.bundle import Bundle
from contract.errors import FlightlineError
from contract.release import ATTESTATIONS, BUNDLE
from contract.statements import ManifestStatement
from contract.strict import encode_json
from pipelines.machine.files import scratch
from pipelines.machine.settings import ROOT, Settings
from training.gates.size import Footprint

TIMEOUT_S = 120


def measure(bundle: Bundle, settings: Settings) -> Footprint:
    """Bytes of the bundle's files, and how much a process grows that loads it with serving's own loader.

    Nothing is signed with a real key before the bundle is accepted: the release is vouched for by a key that
    nobody else ever trusts and that is gone with the folder.

    Raises:
        FlightlineError: there is no serving environment, or its process answers nothing that can be read.
    """
    if not settings.serving_python.is_file():
        raise FlightlineError(
            f"there is no serving environment ({settings.serving_python})",
            "one to measure the memory of a server in",
            "Run: make setup",
        )
    total = sum(item.stat().st_size for item in bundle.path.iterdir())
    with scratch(settings.var) as folder:
        done = _load(_vouched(bundle, folder), bundle.digest, settings)
    if done.returncode == 1 and done.stderr.startswith("error: "):
        return Footprint(total, math.nan, " ".join(done.stderr.removeprefix("error: ").split()))
    try:
        found = json.loads(done.stdout)
        return Footprint(total, float(found["after"] - found["before"]))
    except (ValueError, KeyError, TypeError):
        said = " ".join(done.stderr.split())[-300:]
        raise FlightlineError(
            f"the serving environment could not be measured (exit {done.returncode}: {said})",
            "the memory of a process that holds the bundle",
            "Run: make setup",
        ) from None


def _vouched(bundle: Bundle, folder: Path) -> Path:
    """A release of the bundle in `folder`, beside the trust list that believes it."""
    key = Ed25519PrivateKey.generate()
    release = folder / "release"
    shutil.copytree(bundle.path, release / BUNDLE)
    (release / ATTESTATIONS).mkdir()
    statement = ManifestStatement(model=bundle.model, digest=bundle.digest)
    (release / ATTESTATIONS / "manifest.json").write_bytes(sign(statement, "manifest", key))
    trust = Trust(keys=(trusted_key("trainer", key.public_key()),))
    (folder / "trust.json").write_bytes(encode_json(trust))
    return release


def _load(release: Path, digest: str, settings: Settings) -> subprocess.CompletedProcess[str]:
    command = [settings.serving_python, "-m", "serving.footprint", release, digest]
    try:
        return subprocess.run(
            [*map(str, command), str(release.parent / "trust.json")],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FlightlineError(
            f"the serving environment could not be measured ({error})",
            f"an answer within {TIMEOUT_S} s",
            "Run: make setup",
        ) from None
