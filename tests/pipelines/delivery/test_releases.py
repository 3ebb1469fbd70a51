"""A release is opened only when its bytes and every signed statement are about the same bundle."""

from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contract.attestation import sign
from contract.bundle import Bundle
from contract.errors import BundleError
from contract.statements import ManifestStatement, Provenance, Qualification
from contract.verdict import Verdict
from pipelines.delivery.evidence import COLUMN, DESCRIPTION_LIMIT, NOTICE, description, with_notice
from pipelines.delivery.keys import ensure_keys, private_key
from pipelines.delivery.releases import open_release
from pipelines.machine.settings import Settings
from tests.pipelines.delivery.conftest import settings_in, trained

pytestmark = pytest.mark.unit

GATE = Verdict("G03", "quality", "pass", "0.71", "0.7", "fine")


class Place:
    """A release directory with keys of its own, whose statements a test may replace."""

    def __init__(self, folder: Path) -> None:
        """An honest release."""
        self.settings: Settings = settings_in(folder / "var")
        ensure_keys(self.settings.keys)
        self.bundle: Bundle = trained(folder)
        self.path = folder / "toy"
        self.key = private_key(self.settings.keys, "trainer")
        same = {"model": "toy", "digest": self.bundle.digest}
        self.honest: dict[str, msgspec.Struct] = {
            "manifest": ManifestStatement(**same),
            "qualification": Qualification(
                **same, outcome="accepted", champion="", held_out="", reasons=(), verdicts=()
            ),
            "provenance": Provenance(
                **same, commit="", dirty=False, dvc_lock="", run_id="r1", registered_at="", registered_by=""
            ),
        }
        for kind, statement in self.honest.items():
            self.write(kind, statement)

    def write(self, kind: str, statement: msgspec.Struct, key: Ed25519PrivateKey | None = None) -> None:
        """Sign a statement into the release."""
        path = self.path / "attestations" / f"{kind}.json"
        path.write_bytes(sign(statement, kind, key or self.key))

    def open(self, run_id: str = "r1") -> object:
        """Verify it."""
        return open_release(self.path, "toy", self.bundle.digest, self.settings, run_id)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """An honest release."""
    place = Place(tmp_path)
    place.open()
    return place


@pytest.mark.parametrize("kind", ["manifest", "qualification", "provenance"])
def test_a_statement_that_is_missing_foreign_or_by_another_key_is_refused(place: Place, kind: str) -> None:
    """Each of the three is needed."""
    statement = place.honest[kind]
    place.write(kind, statement, Ed25519PrivateKey.generate())
    with pytest.raises(BundleError, match=f"the {kind} attestation is signed by .* a trusted trainer key"):
        place.open()
    place.write(kind, msgspec.structs.replace(statement, digest="0" * 64))
    with pytest.raises(BundleError, match=f"the {kind} is about toy 000000000000"):
        place.open()
    (place.path / "attestations" / f"{kind}.json").unlink()
    with pytest.raises(BundleError, match=f"the {kind} attestation"):
        place.open()


def test_a_bundle_that_was_kept_or_failed_is_refused(place: Place) -> None:
    """A signature under a rejection is not an acceptance."""
    for outcome in ("kept", "failed"):
        place.write("qualification", msgspec.structs.replace(place.honest["qualification"], outcome=outcome))
        with pytest.raises(BundleError, match=f"is '{outcome}'"):
            place.open()


def test_another_run_is_refused(place: Place) -> None:
    """The version's run must be the one that the provenance names."""
    with pytest.raises(BundleError, match="is about run r1; expected run r2"):
        place.open("r2")


@pytest.mark.parametrize("name", ["model.onnx", "golden.json", "contract.json", "manifest.json"])
def test_a_changed_byte_is_refused(place: Place, name: str) -> None:
    """Whichever file it is in."""
    path = place.path / "bundle" / name
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(BundleError, match=r"the bundle in .* has"):
        place.open()


@pytest.mark.parametrize("reason", ["it is slow; expected less. Run `it` again.", "many words " * 500])
def test_a_refusal_stands_above_the_description_and_goes_without_a_trace(reason: str) -> None:
    """A person opens the version and reads it first; it fits MLflow's column with the longest description."""
    text = "# a card\n\n" + "x" * (DESCRIPTION_LIMIT - 10)
    refused = with_notice(text, reason)
    assert refused.startswith(NOTICE + reason[:40])
    assert refused.endswith(text)
    assert len(refused) <= COLUMN
    assert with_notice(refused, "another").count(NOTICE) == 1
    assert with_notice(with_notice(refused, "another"), "") == text == with_notice(text, "")


def test_a_description_is_the_card_without_front_matter_and_fits() -> None:
    """A long model card is cut where MLflow's column ends, and says where the whole one is."""
    text = description("---\nlibrary_name: onnx\n---\n\n# toy\n" + "card " * 5000, "d" * 64, [GATE])
    assert len(text) == DESCRIPTION_LIMIT
    assert text.startswith(f"**Bundle** `{'d' * 12}`\n\n## Gates\n")
    assert "| G03 quality | pass | 0.71 | 0.7 | fine |\n\n# toy\ncard" in text
    assert "library_name" not in text
    assert text.endswith("among the run's artifacts.\n")


def test_a_short_card_is_kept_whole() -> None:
    """Nothing is cut that fits, with or without front matter."""
    text = description("# toy\n\ntext\n", "d" * 64, [GATE])
    assert text.startswith(f"**Bundle** `{'d' * 12}`\n\n## Gates\n")
    assert text.endswith("| G03 quality | pass | 0.71 | 0.7 | fine |\n\n# toy\n\ntext\n")


def test_the_gates_of_a_long_card_come_first() -> None:
    """Who promotes a version sees its verdicts and figures, however long the author's words are."""
    card = (
        "# toy\n\n## Model details\n\n" + "word " * 2000 + "\n\n## Evaluation\n\n0.7\n\n## Gates\n\n| G99 |\n"
    )
    text = description(card, "d" * 64, [GATE])
    assert "# toy" in text
    assert "G99" not in text
    assert text.index("## Gates") < text.index("## Evaluation") < text.index("## Model details")
