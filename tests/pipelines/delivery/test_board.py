"""The status as a person reads it, in a terminal and elsewhere."""

import io
import threading
from dataclasses import replace

import pytest
from rich.console import Console

from contract.errors import FlightlineError
from contract.statements import STAGING_CHECKS
from pipelines import status as command
from pipelines.delivery.board import age, board, traffic
from pipelines.delivery.standing import Evidence, LastChange, Row, Status

pytestmark = pytest.mark.unit

CHANGE = LastChange("2013-04-01T00:00:00+00:00", "deploy", "ada", "it is better", "")


ROW = Row(
    environment="production",
    model="flights",
    version="3",
    digest="d" * 64,
    alias="3",
    since="2013-04-01 00:00:00Z",
    age_s=7200.0,
    split={"3": 100.0},
    loaded=("3",),
    evidence=Evidence("passed", STAGING_CHECKS, "2013-03-31T23:00:00+00:00"),
    change=CHANGE,
)


FOUND = Status(
    mlflow="http://127.0.0.1:5010",
    services={"staging": "stopped", "production": "serving"},
    rows=(ROW,),
    urls={"staging": "http://127.0.0.1:8101", "production": "http://127.0.0.1:8102"},
    at="2013-04-01T02:00:00+00:00",
)


def shown(found: Status, *, colours: bool = False, width: int = 200) -> str:
    """What a person sees."""
    screen = io.StringIO()
    console = Console(
        file=screen, width=width, force_terminal=colours, color_system="standard" if colours else None
    )
    console.print(board(found))
    return screen.getvalue()


def test_everything_about_a_version_is_on_the_screen() -> None:
    """Version, digest, age, traffic, evidence, last change and by whom; a service that is stopped, too."""
    text = shown(FOUND)
    for words in (
        "version 3 (dddddddddddd) for 2 h",
        "all to 3",
        f"{len(STAGING_CHECKS)} checks passed, 2013-03-31 23:00Z",
        "deploy by ada, 2013-04-01 00:00:00Z: it is better",
        "staging  stopped",
        "production  serving",
    ):
        assert words in text
    assert "alias" not in text
    assert "no model was deployed" in text.split("production")[0]


def test_a_narrow_terminal_loses_no_word() -> None:
    """Long lines wrap."""
    words = shown(FOUND, width=60).split()
    assert {"dddddddddddd", "ada,", "better"} <= {word.strip("():;") for word in words} | set(words)


def test_an_alias_that_names_another_version_stands_out() -> None:
    """In red, with the reason why that one does not run here."""
    row = replace(ROW, alias="4", refused="it did not pass staging")
    text = shown(replace(FOUND, rows=(row,)), colours=True)
    assert "\x1b[31m; the alias names version 4" in text
    assert "which was refused: it did not pass staging" in text
    assert "\x1b[31m" not in shown(replace(FOUND, services={"production": "serving"}), colours=True)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (Evidence("missing"), "no evidence"),
        (Evidence("unknown", reason="MLflow does not answer"), "unknown: MLflow does not answer"),
        (Evidence("refused", reason="signed by nobody"), "refused: signed by nobody"),
        (
            Evidence(
                "passed", ("load",), "2013", measured={"load": {"requests_per_second": 5e3, "p99_ms": 2}}
            ),
            "1 checks passed, 2013Z; 5,000 requests/s, p99 2.0 ms",
        ),
        (
            Evidence("passed", ("load",), "2013", measured={"pipeline verification": {"rows": 28878}}),
            "28,878 rows as in batch",
        ),
    ],
)
def test_evidence_is_told_as_it_is(found: Evidence, words: str) -> None:
    """Four states, each in its own words."""
    assert words in shown(replace(FOUND, rows=(replace(ROW, evidence=found),)))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "all to 3"),
        ({"split": {"3": 90.0, "4": 10.0}}, "90 % to 3, 10 % to 4"),
        ({"mirror": {"4": 50.0}, "loaded": ("3", "4")}, "all to 3; mirror 50 % to 4"),
        ({"loaded": ("3", "4")}, "all to 3; loaded: 4"),
        ({"split": {}, "loaded": ()}, ""),
    ],
)
def test_traffic_names_every_version_that_is_loaded(changes: dict[str, object], words: str) -> None:
    """Who answers, who is asked unseen, and who waits."""
    assert traffic(replace(ROW, **changes)) == words  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, ""), (0.0, "0 s"), (119.0, "119 s"), (120.0, "2 min"), (7200.0, "2 h"), (200_000.0, "2 d")],
)
def test_an_age_is_told_in_the_largest_unit_that_fits_twice(seconds: float | None, words: str) -> None:
    """Nobody reads 93,600 seconds."""
    assert age(seconds) == words


def test_watching_looks_again_until_it_is_ended() -> None:
    """Each look is drawn; Ctrl-C is how one ends it, and no failure."""
    looks = 0
    until = threading.Event()

    def look() -> Status:
        nonlocal looks
        looks += 1
        if looks == 3:
            until.set()
        return replace(FOUND, rows=(replace(ROW, version=str(looks)),))

    screen = io.StringIO()
    command.watch(look, Console(file=screen, force_terminal=True, width=100), until, every_s=0)
    assert looks == 3
    assert all(f"version {number}" in screen.getvalue() for number in (1, 2, 3))

    def interrupted() -> Status:
        raise KeyboardInterrupt

    command.watch(interrupted, Console(file=io.StringIO()), threading.Event(), every_s=0)


def test_watching_is_for_people() -> None:
    """A program reads one object."""
    with pytest.raises(FlightlineError, match="--json and --watch"):
        command.main(["--json", "--watch"])
