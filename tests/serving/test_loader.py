"""The loader puts a verified release into a volume, whole or not at all."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contract.attestation import Trust, trusted_key
from contract.errors import FlightlineError
from serving import loader
from serving.loader import fetch, fetch_desired, main
from serving.models.desired import Desired, DesiredModel, write_desired
from serving.models.predictor import Predictor

pytestmark = pytest.mark.unit


def empty(volume):
    """Whether nothing was left in the volume."""
    return not volume.exists() or not list(volume.iterdir())


@pytest.mark.parametrize("form", ["path", "uri"])
def test_a_release_arrives_ready_to_be_served(make_bundle, tmp_path, form) -> None:
    """What was fetched loads, from a path as from a URI."""
    release = make_bundle()
    source = str(release.path) if form == "path" else release.path.as_uri()
    bundle = fetch(source, tmp_path / "volume" / "model", release.trust, release.digest)
    assert bundle.digest == release.digest
    Predictor.load(tmp_path / "volume" / "model", release.digest, "1", release.trust)
    assert [path.name for path in (tmp_path / "volume").iterdir()] == ["model"]


def test_a_restarted_loader_finds_its_work_done(make_bundle, tmp_path) -> None:
    """Fetching the same release again is no error."""
    release = make_bundle()
    for _ in range(2):
        fetch(str(release.path), tmp_path / "model", release.trust)


@pytest.fixture
def overtaken(monkeypatch):
    """Have another loader, of the release that is named, finish while the first one is still verifying."""
    honest = loader.open_release

    def by(release, into):
        def late(path, digest, trust):
            monkeypatch.setattr(loader, "open_release", honest)
            fetch(str(release.path), into, release.trust)
            return honest(path, digest, trust)

        monkeypatch.setattr(loader, "open_release", late)

    return by


def test_a_loader_that_is_overtaken_succeeds(make_bundle, tmp_path, overtaken) -> None:
    """Two pods that start on one volume want the same; the second finds it done and leaves nothing."""
    release, into = make_bundle(), tmp_path / "volume" / "model"
    overtaken(release, into)
    assert fetch(str(release.path), into, release.trust).digest == release.digest
    assert [path.name for path in into.parent.iterdir()] == ["model"]


def test_a_loader_that_is_overtaken_by_another_release_is_refused(make_bundle, tmp_path, overtaken) -> None:
    """What came first is verified to be what was wanted."""
    mine, other, into = make_bundle(seed=1), make_bundle(seed=2), tmp_path / "volume" / "model"
    overtaken(other, into)
    with pytest.raises(FlightlineError, match="has digest"):
        fetch(str(mine.path), into, mine.trust)
    Predictor.load(into, other.digest, "1", other.trust)


def test_a_file_in_the_place_of_the_volume_is_a_sentence(make_bundle, tmp_path) -> None:
    """It is neither replaced nor a traceback."""
    release = make_bundle()
    (tmp_path / "model").write_text("mine")
    with pytest.raises(FlightlineError, match="cannot be read"):
        fetch(str(release.path), tmp_path / "model", release.trust)
    assert (tmp_path / "model").read_text() == "mine"


def test_a_volume_with_another_release_is_left_alone(make_bundle, tmp_path) -> None:
    """A server may be reading it."""
    one, two = make_bundle(seed=1), make_bundle(seed=2)
    fetch(str(one.path), tmp_path / "model", one.trust)
    with pytest.raises(FlightlineError, match="has digest"):
        fetch(str(two.path), tmp_path / "model", one.trust)
    Predictor.load(tmp_path / "model", one.digest, "1", one.trust)


def test_a_tampered_release_does_not_arrive(make_bundle, tmp_path) -> None:
    """The volume stays empty."""
    release = make_bundle()
    (release.bundle / "model.onnx").write_bytes(b"")
    with pytest.raises(FlightlineError, match=r"changed model\.onnx"):
        fetch(str(release.path), tmp_path / "volume" / "model", release.trust)
    assert empty(tmp_path / "volume")


def test_an_untrusted_release_does_not_arrive(make_bundle, tmp_path) -> None:
    """A loader believes only the keys it was given."""
    release = make_bundle()
    stranger = trusted_key("trainer", Ed25519PrivateKey.generate().public_key())
    with pytest.raises(FlightlineError, match="is signed by"):
        fetch(str(release.path), tmp_path / "volume" / "model", Trust(keys=(stranger,)))
    assert empty(tmp_path / "volume")


def test_another_digest_than_asked_for_does_not_arrive(make_bundle, tmp_path) -> None:
    """A sound release in the wrong place is still the wrong one."""
    release = make_bundle()
    with pytest.raises(FlightlineError, match="has digest"):
        fetch(str(release.path), tmp_path / "volume" / "model", release.trust, "0" * 64)
    assert empty(tmp_path / "volume")


@pytest.mark.parametrize("uri", ["/nowhere/at/all", "file:///nowhere/at/all", "nope://bucket/model"])
def test_a_source_that_is_not_there_is_named(make_bundle, tmp_path, uri) -> None:
    """Missing folders and unknown schemes are sentences with the source in them."""
    with pytest.raises(FlightlineError, match=uri):
        fetch(uri, tmp_path / "model", make_bundle().trust)


def test_the_command_reads_the_environment(make_bundle, tmp_path, monkeypatch, capsys) -> None:
    """An init container configures it with variables alone."""
    release = make_bundle()
    monkeypatch.setenv("MODEL_URI", str(release.path))
    monkeypatch.setenv("MODEL_DIGEST", release.digest)
    monkeypatch.setenv("FLIGHTLINE_TRUST", str(release.trust_file))
    assert main(["--to", str(tmp_path / "model")]) == 0
    assert release.digest in capsys.readouterr().out


def test_the_command_needs_a_source(monkeypatch, tmp_path) -> None:
    """Without a source it says which flag is missing."""
    monkeypatch.delenv("MODEL_URI", raising=False)
    with pytest.raises(FlightlineError, match="--from is missing"):
        main(["--to", str(tmp_path / "model")])


def test_all_that_a_desired_state_names_arrives_where_it_is_named(make_bundle, tmp_path, capsys) -> None:
    """Each from the folder of its digest; a second run finds its work done (R6)."""
    made = make_bundle()
    (tmp_path / "storage").mkdir()
    (tmp_path / "storage" / made.digest).symlink_to(made.path)
    target = tmp_path / "releases" / made.digest
    model = DesiredModel.of("7", str(target), made.digest)
    write_desired(tmp_path, Desired(generation=1, default="toy", models={"toy": model}))
    command = ["--desired", str(tmp_path / "desired.json"), "--from", str(tmp_path / "storage")]
    for _ in range(2):
        assert main([*command, "--trust", str(made.trust_file)]) == 0
        assert f"toy {made.digest} is in {target}" in capsys.readouterr().out
    assert Predictor.load(target, made.digest, "7", made.trust).bundle.digest == made.digest


def test_a_desired_release_that_is_another_does_not_arrive(make_bundle, tmp_path) -> None:
    """Whatever lies in a folder of that name; a state that cannot be read is a sentence, too."""
    made = make_bundle()
    digest = "0" * 64
    (tmp_path / "storage").mkdir()
    (tmp_path / "storage" / digest).symlink_to(made.path)
    model = DesiredModel.of("7", str(tmp_path / "volume" / digest), digest)
    write_desired(tmp_path, Desired(generation=1, default="toy", models={"toy": model}))
    with pytest.raises(FlightlineError, match="digest"):
        fetch_desired(str(tmp_path / "storage"), tmp_path / "desired.json", made.trust)
    assert not list((tmp_path / "volume").iterdir())
    with pytest.raises(FlightlineError, match="cannot be read"):
        fetch_desired(str(tmp_path / "storage"), tmp_path / "none.json", made.trust)
