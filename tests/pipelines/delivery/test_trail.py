"""The ways back and forward that the ledger leaves open."""

from pathlib import Path

import msgspec
import pytest

from pipelines.delivery.trail import left_behind, neighbours, refusal
from pipelines.ledger import Action, Placed, append, history, live, read
from tests.pipelines.delivery.test_ledger import entry

pytestmark = pytest.mark.unit


def test_versions_left_behind_since_the_last_deployment(tmp_path: Path) -> None:
    """An alias that names one of them is older than the rollback; a new deployment ends that."""
    path = tmp_path / "ledger.jsonl"

    def step(before: str, after: str, action: Action) -> list[str]:
        made = msgspec.structs.replace(entry(after, action=action), before=Placed(before, before * 64))
        append(path, made)
        return sorted(left_behind(read(path), "production", "flights"))

    append(path, entry("1"))
    assert step("1", "2", "deploy") == step("2", "3", "deploy") == []
    assert step("3", "2", "rollback") == ["3"]
    assert step("2", "1", "rollback") == ["2", "3"]
    assert step("1", "2", "forward") == ["1", "3"]
    assert step("2", "3", "deploy") == []


def test_undo_and_redo(tmp_path: Path) -> None:
    """Rollback walks back along the versions that were live, forward along those rolled back from."""
    path = tmp_path / "ledger.jsonl"

    def around() -> tuple[str, str]:
        found = neighbours(read(path), "production", "flights")
        back, forward = (item.version if item else "" for item in found)
        return back, forward

    assert around() == ("", "")
    append(path, entry("1"))
    assert around() == ("", "")
    append(path, entry("2"))
    append(path, entry("3"))
    assert around() == ("2", "")
    append(path, entry("2", action="rollback"))
    assert around() == ("1", "3")
    append(path, entry("1", action="rollback"))
    assert around() == ("", "2")
    append(path, entry("2", action="forward"))
    assert around() == ("1", "3")
    append(path, entry("4"))  # a new deployment after a rollback: nothing to go forward to
    assert around() == ("2", "")


def test_what_was_refused_changed_nothing(tmp_path: Path) -> None:
    """The line says why a bundle did not stay; what was live and can be gone back to is as it was."""
    path = tmp_path / "ledger.jsonl"
    append(path, entry("1"))
    append(path, entry("2"))
    before = read(path)
    append(path, entry("3", action="refused"))
    after = read(path)
    assert len(after) == 3
    assert live(after, "production", "flights") == live(before, "production", "flights")
    assert history(after, "production", "flights") == before
    assert neighbours(after, "production", "flights") == neighbours(before, "production", "flights")
    assert left_behind(after, "production", "flights") == {}
    refused = refusal(after, "production", "flights", entry("3").after.digest)
    assert refused is not None
    assert refused.after.version == "3"
    assert refusal(after, "production", "flights", entry("2").after.digest) is None
    append(path, entry("3"))
    assert refusal(read(path), "production", "flights", entry("3").after.digest) is None
