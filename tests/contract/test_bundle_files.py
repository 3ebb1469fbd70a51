"""What a bundle on disk may be made of, and that what was hashed is what is used."""

import json
import os

import pytest

from contract import bundle as bundle_module
from contract.bundle import FILES, LIMITS, MANIFEST, SMALL, open_bundle, read_file, seal
from contract.errors import BundleError
from contract.strict import encode_json

pytestmark = pytest.mark.unit

ALL = (*FILES, MANIFEST)


@pytest.fixture
def release(make_bundle):
    """A small sealed bundle."""
    return make_bundle()


def rewrite(release, change):
    """Let `change` edit the manifest, and write it back."""
    manifest = json.loads((release.bundle / MANIFEST).read_bytes())
    change(manifest["files"])
    (release.bundle / MANIFEST).write_bytes(encode_json(manifest))


@pytest.mark.parametrize("name", ALL)
def test_a_link_in_the_place_of_a_file_is_refused(release, tmp_path, name):
    """A link to the right bytes may lead to other ones a moment later."""
    path = release.bundle / name
    path.rename(tmp_path / name)
    path.symlink_to(tmp_path / name)
    with pytest.raises(BundleError, match=f"{name} cannot be read \\(it is a symbolic link\\)"):
        open_bundle(release.bundle)


@pytest.mark.parametrize("name", ALL)
def test_a_pipe_in_the_place_of_a_file_is_refused_at_once(release, name):
    """Nobody waits for somebody to write into it."""
    (release.bundle / name).unlink()
    os.mkfifo(release.bundle / name)
    with pytest.raises(BundleError, match=f"{name} cannot be read \\(it is no file\\)"):
        open_bundle(release.bundle)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "sub/model.onnx", "..", "extra.py"])
def test_a_manifest_that_names_another_file_is_refused(release, name):
    """However it is named, and though its hash may fit: a bundle has its own files and no others."""
    rewrite(release, lambda files: files.update({name: "0" * 64}))
    with pytest.raises(BundleError, match=f"has a manifest that holds {name}; expected exactly"):
        open_bundle(release.bundle)


def test_the_sentence_about_many_strange_names_is_short(release):
    """Whoever writes the manifest does not choose how much we print."""
    rewrite(release, lambda files: files.update({f"{'x' * 10_000}{n}": "" for n in range(1_000)}))
    with pytest.raises(BundleError) as caught:
        open_bundle(release.bundle)
    assert len(str(caught.value)) < 1_000


@pytest.mark.parametrize("name", ALL)
def test_a_file_that_is_too_large_is_refused_before_it_is_read(release, name):
    """The file has a hole, not bytes: reading it would take as much memory as its limit and more."""
    limit = LIMITS.get(name, SMALL)
    os.truncate(release.bundle / name, limit + 1)
    with pytest.raises(BundleError, match=f"{name} cannot be read \\(it has {limit + 1} bytes"):
        open_bundle(release.bundle)


def test_a_file_that_grows_while_it_is_read_is_refused(release, monkeypatch):
    """The size that was allowed is the size that is read."""
    path = release.bundle / "golden.json"
    status = os.fstat

    def early(descriptor):
        found = status(descriptor)
        with path.open("ab") as file:
            file.write(b" ")
        return found

    monkeypatch.setattr(bundle_module.os, "fstat", early)
    with pytest.raises(BundleError, match="it grew meanwhile"):
        read_file(path, SMALL)


@pytest.mark.parametrize("name", ["contract.json", "golden.json", "environment.json"])
def test_what_was_hashed_is_what_is_decoded(release, monkeypatch, name):
    """Whoever changes a file after it was hashed does not reach the reader: it is read once."""
    whole = open_bundle(release.bundle)
    read = bundle_module.read_file

    def then_change(path, limit):
        data = read(path, limit)
        if path.name == name:
            path.write_bytes(b"{}")
        return data

    monkeypatch.setattr(bundle_module, "read_file", then_change)
    assert open_bundle(release.bundle) == whole


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_read_from_an_open_bundle_only_unchanged(release, name):
    """Later reads are as strict as the first."""
    bundle = open_bundle(release.bundle)
    whole = (release.bundle / name).read_bytes()
    assert bundle.read(name) == whole
    (release.bundle / name).write_bytes(whole + b" ")
    with pytest.raises(BundleError, match=f"has a changed {name}"):
        bundle.read(name)


def test_a_link_is_not_sealed(release, tmp_path):
    """What would not open is not packaged."""
    path = release.bundle / "model.onnx"
    path.rename(tmp_path / "model.onnx")
    path.symlink_to(tmp_path / "model.onnx")
    with pytest.raises(BundleError, match="symbolic link"):
        seal(release.bundle, release.contract)
