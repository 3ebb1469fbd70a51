"""The ledger answers what ran when, and notices that somebody changed the record."""

import json
import os
import resource
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.errors import FlightlineError
from pipelines.ledger import (
    Action,
    Entry,
    Placed,
    append,
    live,
    main,
    parse_moment,
    read,
)

pytestmark = pytest.mark.unit

START = datetime(2013, 6, 1, tzinfo=UTC)


def entry(version: str, day: int = 0, action: Action = "deploy", model: str = "flights") -> Entry:
    """One change in production."""
    return Entry(
        at=START + timedelta(days=day),
        environment="production",
        model=model,
        action=action,
        before=None,
        after=Placed(version=version, digest=version * 64),
        who="ada",
        why="because",
        evidence="",
    )


def versions(path: Path) -> list[str]:
    """The versions in the order of the lines."""
    return [item.after.version for item in read(path)]


def test_lines_are_chained(tmp_path: Path) -> None:
    """Every line holds the hash of the one before; the first holds none."""
    path = tmp_path / "ledger.jsonl"
    first, second = append(path, entry("1")), append(path, entry("2"))
    assert (first.previous, second.previous) == ("", first.hash)
    assert read(path) == [first, second]


def test_live_answers_for_a_moment(tmp_path: Path) -> None:
    """What was live at a moment is the last change that was not later."""
    path = tmp_path / "ledger.jsonl"
    for version, day in (("1", 0), ("2", 10)):
        append(path, entry(version, day))
    entries = read(path)
    moments = [(-1, None), (0, "1"), (9, "1"), (10, "2"), (99, "2")]
    for day, expected in moments:
        found = live(entries, "production", "flights", START + timedelta(days=day))
        assert (found.version if found else None) == expected
    assert live(entries, "staging", "flights") is None
    assert live(entries, "production", "iris") is None


@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_edited_line_is_found(tmp_path: Path, number: int) -> None:
    """Changing any word of any line breaks the chain at that line."""
    path = tmp_path / "ledger.jsonl"
    for version in "123":
        append(path, entry(version))
    lines = path.read_text().splitlines(keepends=True)
    lines[number - 1] = lines[number - 1].replace('"ada"', '"eve"')
    path.write_text("".join(lines))
    with pytest.raises(FlightlineError, match=f"line {number} was edited"):
        read(path)
    with pytest.raises(FlightlineError, match="was edited"):
        append(path, entry("4"))


def test_a_removed_line_is_found(tmp_path: Path) -> None:
    """The line after a gap does not follow from the line before it."""
    path = tmp_path / "ledger.jsonl"
    for version in "123":
        append(path, entry(version))
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(lines[0] + lines[2])
    with pytest.raises(FlightlineError, match="line 2 was edited, or a line before it removed"):
        read(path)


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_removed_last_lines_are_found(tmp_path: Path, kept: int) -> None:
    """What is left is a whole chain, but not the one whose last hash is kept beside it."""
    path = tmp_path / "ledger.jsonl"
    for version in "123":
        append(path, entry(version))
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:kept]))
    for act in (lambda: read(path), lambda: append(path, entry("4"))):
        with pytest.raises(
            FlightlineError, match=r"does not end with the line \w{12} that ledger\.head names"
        ):
            act()


def test_a_crash_between_line_and_head_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The head then names the line before; where there is none, `verify` says what it cannot find."""
    path = tmp_path / "ledger.jsonl"
    append(path, entry("1"))
    head = path.with_suffix(".head").read_bytes()
    append(path, entry("2"))
    path.with_suffix(".head").write_bytes(head)
    assert versions(path) == ["1", "2"]
    append(path, entry("3"))
    path.with_suffix(".head").unlink()
    monkeypatch.setenv("FLIGHTLINE_VAR", str(tmp_path))
    assert main(["verify"]) == 0
    assert "without ledger.head a removed last line would not be noticed" in capsys.readouterr().out


@given(cut=st.integers(min_value=1, max_value=300))
@settings(max_examples=25, deadline=None)
def test_a_torn_last_line_is_set_aside(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    """A crash may cut the last line anywhere; it is ignored, then kept aside, and the chain goes on."""
    path = tmp_path_factory.mktemp("ledger") / "ledger.jsonl"
    append(path, entry("1"))
    whole, head = path.read_bytes(), path.with_suffix(".head").read_bytes()
    append(path, entry("2"))
    torn = path.read_bytes()[: len(whole) + cut]
    path.write_bytes(torn)
    path.with_suffix(".head").write_bytes(head)  # which is written after the line
    assert versions(path) == ["1"]
    append(path, entry("3"))
    assert versions(path) == ["1", "3"]
    assert path.with_suffix(".torn-1").read_bytes() == torn[len(whole) :]


def test_the_command_answers_at_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--at` shows one line a model and environment; `verify` counts the lines."""
    monkeypatch.setenv("FLIGHTLINE_VAR", str(tmp_path))
    path = tmp_path / "ledger.jsonl"
    for version, day, model in (("1", 0, "flights"), ("2", 10, "flights"), ("7", 0, "iris")):
        append(path, entry(version, day, model=model))
    assert main(["--at", "2013-06-05", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {(line["model"], line["to"]["version"]) for line in found} == {("flights", "1"), ("iris", "7")}
    assert main(["--at", "2012-01-01"]) == 0
    assert "nothing was live" in capsys.readouterr().out
    assert main(["verify"]) == 0
    assert "3 line(s), chain intact" in capsys.readouterr().out


def test_the_command_filters_by_model_and_finds_an_edited_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--model` shows the lines of one, alone and at a moment; `verify` refuses a record that was changed."""
    monkeypatch.setenv("FLIGHTLINE_VAR", str(tmp_path))
    path = tmp_path / "ledger.jsonl"
    for version, day, model in (("1", 0, "flights"), ("7", 0, "iris"), ("2", 10, "flights")):
        append(path, entry(version, day, model=model))

    def shown(*words: str) -> list[tuple[str, str]]:
        assert main([*words, "--json"]) == 0
        return [(line["model"], line["to"]["version"]) for line in json.loads(capsys.readouterr().out)]

    assert shown("--model", "flights") == [("flights", "1"), ("flights", "2")]
    assert shown("--model", "iris", "--at", "2013-06-05") == [("iris", "7")]
    assert shown("--model", "flights", "--at", "2013-06-20") == [("flights", "2")]
    path.write_text(path.read_text().replace('"because"', '"for fun"', 1))
    for words in (["verify"], ["show"], ["--at", "2013-06-05"]):
        with pytest.raises(FlightlineError, match="line 1 was edited"):
            main(words)


def test_a_moment_that_is_none_is_refused() -> None:
    """The sentence shows what a moment looks like."""
    with pytest.raises(FlightlineError, match="'yesterday' is not a moment"):
        parse_moment("yesterday")
    assert parse_moment("2013-06-01") == START


def test_parallel_writers_keep_one_chain(tmp_path: Path) -> None:
    """The lock makes every writer's line follow the one before."""
    path = tmp_path / "ledger.jsonl"
    threads = [
        threading.Thread(target=lambda: [append(path, entry("1")) for _ in range(10)]) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(read(path)) == 30


def test_a_refused_version_was_never_live(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`show` has its line, `--at` has not."""
    monkeypatch.setenv("FLIGHTLINE_VAR", str(tmp_path))
    append(tmp_path / "ledger.jsonl", entry("1"))
    append(tmp_path / "ledger.jsonl", entry("3", action="refused"))
    assert main(["show"]) == 0
    assert "refused" in capsys.readouterr().out
    assert main(["--at", "2100-01-01"]) == 0
    told = capsys.readouterr().out
    assert "refused" not in told
    assert "deploy" in told


def test_a_disk_that_refuses_is_a_sentence_and_the_ledger_is_as_it_was(tmp_path: Path) -> None:
    """A line that was written in part is no entry; with room again the next follows the last whole one."""
    path = tmp_path / "ledger.jsonl"
    append(path, entry("1"))
    room = path.stat().st_size + 40
    child = os.fork()
    if child == 0:  # a limit on the size of files cannot be lifted again
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        try:
            append(path, entry("2"))
        except FlightlineError as error:
            os._exit(0 if "ledger.jsonl cannot be written (File too large)" in str(error) else 2)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert path.stat().st_size == room
    assert versions(path) == ["1"]
    append(path, entry("3"))
    assert versions(path) == ["1", "3"]
