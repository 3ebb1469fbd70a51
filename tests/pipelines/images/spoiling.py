"""Ways in which an image can be wrong although its release was found right."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import IO, Any

import msgspec
import pytest

from contract.bundle import Golden
from contract.strict import decode_json
from pipelines.delivery.releases import Release
from pipelines.images import context
from pipelines.machine.settings import ROOT, Settings
from tests.pipelines.images.conftest import registered

Spoil = Callable[[Release, pytest.MonkeyPatch], Release]


def tampered(release: Release, patch: pytest.MonkeyPatch) -> Release:
    """A byte of the graph is changed between the verification and the build."""
    entries = context.release(release)
    changed = [(name, b"\0" + data[1:] if name.endswith("model.onnx") else data) for name, data in entries]
    patch.setattr(context, "release", lambda _: changed)
    return release


def exchanged(release: Release, patch: pytest.MonkeyPatch) -> Release:
    """Another release of the same model, signed by the same key, takes its place in the image."""
    other = registered_beside(release, seed=9)
    entries = context.release(other)
    patch.setattr(context, "release", lambda _: entries)
    return release


def as_root(release: Release, patch: pytest.MonkeyPatch) -> Release:
    """The image says that it runs as root."""
    write = context.write

    def rooted(entries: Iterable[context.Entry], file: IO[bytes]) -> None:
        write([(name, data + b"USER 0\n" if name == context.MODEL else data) for name, data in entries], file)

    patch.setattr(context, "write", rooted)
    return release


def with_a_wrong_golden_answer(release: Release, _: pytest.MonkeyPatch) -> Release:
    """A signed bundle that expects what its graph does not answer."""
    golden = decode_json((release.bundle.path / "golden.json").read_bytes(), Golden, "golden.json")
    row = golden.rows[0]
    wrong = msgspec.structs.replace(row, scores=tuple(reversed(row.scores)))
    return registered_beside(release, golden=msgspec.structs.replace(golden, rows=(wrong, *golden.rows[1:])))


def with_half_a_server(release: Release, patch: pytest.MonkeyPatch) -> Release:
    """A package of the server is forgotten."""
    rest = [item for item in context.code(ROOT) if "/serving/http/" not in item[0]]
    patch.setattr(context, "code", lambda _: rest)
    return release


def with_another_expectation(release: Release, _: pytest.MonkeyPatch) -> Release:
    """The image serves what it holds, which is not what the suite knows of it."""
    rows = release.bundle.golden.rows
    changed = msgspec.structs.replace(rows[0], label="other")
    golden = msgspec.structs.replace(release.bundle.golden, rows=(changed, *rows[1:]))
    return dataclasses.replace(release, bundle=dataclasses.replace(release.bundle, golden=golden))


def registered_beside(release: Release, **more: Any) -> Release:
    """A further release of the same model and place."""
    variables = {"FLIGHTLINE_VAR": (release.path.parent / "var").read_text()}
    folder = release.path.parent / "beside"
    return registered(Settings.from_environment(variables), folder, release.bundle.model, **more)


WAYS = [
    (tampered, r"failed its tests: starts \(.*model\.onnx"),
    (exchanged, r"failed its tests: starts \(.*digest"),
    (as_root, r"failed its tests: user \(the image runs as '0'"),
    (with_a_wrong_golden_answer, r"failed its tests: starts \(.*golden"),
    (with_half_a_server, r"failed its tests: starts \(the container ended: .*serving\.http"),
    (with_another_expectation, r"failed its tests: golden answers \(golden row 0 is answered"),
]
