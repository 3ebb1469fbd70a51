"""A bundle opens only when every byte is what was sealed."""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract.bundle import FILES, MANIFEST, open_bundle, seal
from contract.errors import BundleError
from contract.strict import encode_json

pytestmark = pytest.mark.unit

ALL = (*FILES, MANIFEST)


@pytest.fixture
def release(make_bundle):
    """A small sealed bundle."""
    return make_bundle()


@pytest.fixture(scope="module")
def sealed(build_release, tmp_path_factory):
    """One sealed bundle for tests that put every byte back."""
    return build_release(tmp_path_factory.mktemp("sealed") / "release")


def test_a_sealed_bundle_opens_with_its_digest(release):
    """What was sealed is what is read."""
    bundle = open_bundle(release.bundle, release.digest)
    assert bundle.digest == release.digest
    assert bundle.contract == release.contract
    assert bundle.model == bundle.manifest.model == "toy"
    assert len(bundle.golden.rows) == 4
    assert set(bundle.manifest.files) == set(FILES)


def test_equal_files_have_one_digest(release, tmp_path):
    """Sealing a copy gives the same digest: nothing of the place or the hour is in it."""
    copy = shutil.copytree(release.bundle, tmp_path / "elsewhere")
    assert seal(copy, release.contract) == release.digest


@pytest.mark.parametrize("name", ALL)
def test_a_bundle_without_one_of_its_files_is_refused(release, name):
    """Each file is needed."""
    (release.bundle / name).unlink()
    with pytest.raises(BundleError, match=name):
        open_bundle(release.bundle)


@pytest.mark.parametrize("name", FILES)
def test_a_bundle_with_a_changed_file_is_refused_by_name(release, name):
    """One byte more is another file."""
    path = release.bundle / name
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(BundleError, match=f"has a changed {name}"):
        open_bundle(release.bundle)


@pytest.mark.parametrize("name", ALL)
def test_a_folder_in_the_place_of_a_file_is_refused(release, name):
    """Not even a folder of the right name passes."""
    (release.bundle / name).unlink()
    (release.bundle / name).mkdir()
    with pytest.raises(BundleError, match=f"{name} cannot be read"):
        open_bundle(release.bundle)


@pytest.mark.parametrize("name", ["extra.py", ".hidden"])
def test_a_bundle_with_an_added_file_is_refused_by_name(release, name):
    """Nothing rides along unseen."""
    (release.bundle / name).write_text("")
    with pytest.raises(BundleError, match=f"holds {name}"):
        open_bundle(release.bundle)


def test_another_bundle_is_not_taken_for_the_one_that_was_asked_for(make_bundle):
    """A whole and sound bundle with another digest is refused."""
    one, two = make_bundle(seed=1), make_bundle(seed=2)
    with pytest.raises(BundleError, match=f"has digest {two.digest[:12]}; expected digest {one.digest[:12]}"):
        open_bundle(two.bundle, one.digest)


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("name", FILES)
def test_a_manifest_that_forgets_a_file_is_refused(release, name, there):
    """Leaving a file out of the manifest does not exempt it, nor does leaving it out of the folder."""
    if not there:
        (release.bundle / name).unlink()
    manifest = json.loads((release.bundle / MANIFEST).read_bytes())
    del manifest["files"][name]
    (release.bundle / MANIFEST).write_bytes(encode_json(manifest))
    with pytest.raises(BundleError, match=name):
        open_bundle(release.bundle)


def test_a_contract_of_another_fingerprint_is_refused(release):
    """The manifest names the contract beside its bytes."""
    manifest = json.loads((release.bundle / MANIFEST).read_bytes())
    manifest["contract"] = "0" * 64
    (release.bundle / MANIFEST).write_bytes(encode_json(manifest))
    with pytest.raises(BundleError, match="another fingerprint"):
        open_bundle(release.bundle)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff\xfe"])
@pytest.mark.parametrize("name", [MANIFEST, "contract.json", "golden.json", "environment.json"])
def test_a_bundle_sealed_around_nonsense_is_refused_in_one_sentence(release, name, content):
    """Even with fitting hashes, what is inside must be of its type."""
    (release.bundle / name).write_bytes(content)
    if name != MANIFEST:
        seal(release.bundle, release.contract)
    with pytest.raises(BundleError, match=name):
        open_bundle(release.bundle)


@pytest.mark.parametrize("name", FILES)
def test_an_incomplete_folder_is_not_sealed(release, name):
    """Packaging stops before it writes a manifest."""
    (release.bundle / name).unlink()
    (release.bundle / MANIFEST).unlink()
    with pytest.raises(BundleError, match=f"lacks {name}"):
        seal(release.bundle, release.contract)
    assert not (release.bundle / MANIFEST).exists()


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    """A wrong path is one sentence."""
    with pytest.raises(BundleError, match="cannot be read"):
        open_bundle(tmp_path / "nowhere")


# The fixture is read only, and every byte is put back.
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(ALL), where=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_flipping_any_byte_of_any_file_is_refused(sealed, name, where, flip):
    """Whoever knows the digest notices every change."""
    path: Path = sealed.bundle / name
    whole = path.read_bytes()
    broken = bytearray(whole)
    broken[int(where * len(whole))] ^= flip
    path.write_bytes(broken)
    try:
        with pytest.raises(BundleError):
            open_bundle(sealed.bundle, sealed.digest)
    finally:
        path.write_bytes(whole)
    assert open_bundle(sealed.bundle, sealed.digest).digest == sealed.digest
