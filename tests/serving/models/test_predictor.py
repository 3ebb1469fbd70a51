"""A model is loaded only when it is proven to answer as it did in training."""

from importlib.metadata import version

import msgspec
import numpy as np
import onnx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contract.attestation import Trust, sign, trusted_key
from contract.bundle import Golden, GoldenRow
from contract.statements import ManifestStatement
from serving.rows import decode_rows
from tests.serving.models.loading import load, refused, regraph

pytestmark = pytest.mark.unit

HERE = {name: version(name) for name in ("numpy", "onnxruntime")}


def test_a_sound_release_answers_its_golden_rows(make_bundle) -> None:
    """Loading verifies, and predicting gives labels and scores of the declared shapes."""
    release = make_bundle()
    predictor = load(release)
    rows = decode_rows(release.contract, [item.row for item in predictor.bundle.golden.rows])
    labels, scores = predictor.predict(rows.numbers, rows.categories)
    assert [release.contract.classes[label] for label in labels] == [
        item.label for item in predictor.bundle.golden.rows
    ]
    assert scores.dtype == np.float32
    assert (predictor.version, predictor.skew) == ("7", {})


def test_a_run_has_as_many_threads_as_it_is_told(make_bundle) -> None:
    """One, unless a service asks for more; never the library's own choice."""
    release = make_bundle()
    for predictor, threads in ((load(release), 1), (load(release, threads=2), 2)):
        assert predictor._session.get_session_options().intra_op_num_threads == threads


def test_a_model_without_categories_takes_numbers_only(make_bundle) -> None:
    """The `categories` input exists only where the contract has some."""
    toy = make_bundle().contract
    release = make_bundle(contract=msgspec.structs.replace(toy, features=toy.numbers))
    assert load(release).predict(np.zeros((2, 2), dtype=np.float32), None)[0].shape == (2,)


@pytest.mark.parametrize(
    "name",
    [
        "model.onnx",
        "contract.json",
        "golden.json",
        "environment.json",
        "evidence.json",
        "reference.parquet",
        "model_card.md",
        "manifest.json",
    ],
)
def test_a_tampered_file_is_refused(make_bundle, name) -> None:
    """One added byte in any file of the bundle is found."""
    release = make_bundle()
    with (release.bundle / name).open("ab") as file:
        file.write(b" ")
    refused(release, f"changed {name}|has digest")


def test_a_file_added_to_the_bundle_is_refused(make_bundle) -> None:
    """A bundle holds exactly its files."""
    release = make_bundle()
    (release.bundle / "extra.bin").write_bytes(b"x")
    refused(release, "holds extra.bin")


def test_another_bundle_than_desired_is_refused(make_bundle) -> None:
    """A sound release is still not the one that was asked for."""
    refused(make_bundle(), "has digest", digest="0" * 64)


def test_an_untrusted_key_is_refused(make_bundle) -> None:
    """A signature by a key outside the trust list counts for nothing."""
    release = make_bundle()
    other = trusted_key("trainer", Ed25519PrivateKey.generate().public_key())
    refused(release, "is signed by", trust=Trust(keys=(other,)))


def test_the_staging_key_cannot_speak_for_the_trainer(make_bundle) -> None:
    """A trusted key speaks for its own role only."""
    release = make_bundle()
    staging = trusted_key("staging", release.key.public_key())
    refused(release, "a trusted trainer key", trust=Trust(keys=(staging,)))


def test_an_attestation_of_another_bundle_is_refused(make_bundle) -> None:
    """A signature cannot be carried over from one bundle to another."""
    one, two = make_bundle(seed=1), make_bundle(seed=2)
    envelope = (one.path / "attestations" / "manifest.json").read_bytes()
    (two.path / "attestations" / "manifest.json").write_bytes(envelope)
    refused(two, "the manifest is about")


def test_an_attestation_for_another_model_is_refused(make_bundle) -> None:
    """The statement names the model as well as the digest."""
    release = make_bundle()
    statement = ManifestStatement(model="iris", digest=release.digest)
    (release.path / "attestations" / "manifest.json").write_bytes(sign(statement, "manifest", release.key))
    refused(release, "the manifest is about iris")


def test_a_missing_attestation_is_refused(make_bundle) -> None:
    """Nobody vouched for it: it is not loaded."""
    release = make_bundle()
    (release.path / "attestations" / "manifest.json").unlink()
    refused(release, "cannot be read")


@pytest.mark.parametrize("library", ["numpy", "onnxruntime"])
def test_another_minor_version_of_a_library_is_refused(make_bundle, library) -> None:
    """The version-mismatch anti-pattern: the sentence names the library and both versions."""
    refused(make_bundle(libraries=HERE | {library: "0.1.0"}), f"{library} is .* and was 0.1.0 in training")


def test_a_bundle_silent_about_a_library_is_refused(make_bundle) -> None:
    """What is not said cannot be compared."""
    refused(make_bundle(libraries={"numpy": HERE["numpy"]}), "does not say its onnxruntime")


def test_another_patch_version_is_reported(make_bundle) -> None:
    """A patch release may differ, visibly."""
    major, minor, _ = HERE["numpy"].split(".")[:3]
    release = make_bundle(libraries=HERE | {"numpy": f"{major}.{minor}.999"})
    assert load(release).skew == {"numpy": f"trained with {major}.{minor}.999, serving with {HERE['numpy']}"}


def test_scores_that_are_not_finite_are_refused(make_bundle) -> None:
    """NaN in, NaN expected, NaN out still is no answer."""
    base = make_bundle()

    def poison(graph):
        for node in graph.node:  # the label must come from what is still finite
            node.output[:] = ["soft" if name == "scores" else name for name in node.output]
            node.input[:] = ["soft" if name == "scores" else name for name in node.input]
        graph.initializer.append(onnx.numpy_helper.from_array(np.float32(np.nan), "nan"))
        graph.node.append(onnx.helper.make_node("Mul", ["soft", "nan"], ["scores"]))

    golden = load(base).bundle.golden
    refused(make_bundle(graph=regraph(base, poison), golden=golden), "finite scores")


def test_a_wrong_golden_label_is_refused(make_bundle) -> None:
    """A server that answers another class than training did does not become ready."""
    golden = load(make_bundle()).bundle.golden
    first = golden.rows[0]
    wrong = next(name for name in ("low", "high") if name != first.label)
    changed = GoldenRow(row=first.row, label=wrong, scores=first.scores)
    refused(
        make_bundle(golden=Golden(tolerance=1e-5, rows=(changed,))), f"answers '{first.label}'.*'{wrong}'"
    )


def test_a_score_outside_the_tolerance_is_refused(make_bundle) -> None:
    """Equal labels are not enough."""
    golden = load(make_bundle()).bundle.golden
    first = golden.rows[0]
    changed = GoldenRow(row=first.row, label=first.label, scores=(first.scores[0] + 1e-3, *first.scores[1:]))
    refused(make_bundle(golden=Golden(tolerance=1e-4, rows=(changed,))), "within 0.0001")


def test_a_bundle_without_golden_answers_is_refused(make_bundle) -> None:
    """Nothing proven is not the same as proven."""
    refused(make_bundle(golden=Golden(tolerance=1e-5, rows=())), "no golden answers")


def test_a_golden_row_outside_the_contract_is_refused(make_bundle) -> None:
    """Training and serving must mean the same inputs."""
    first = load(make_bundle()).bundle.golden.rows[0]
    changed = GoldenRow(row=first.row | {"width": 99.0}, label=first.label, scores=first.scores)
    refused(make_bundle(golden=Golden(tolerance=1.0, rows=(changed,))), r"golden rows\[0\].width is 99")
