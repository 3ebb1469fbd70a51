"""What a service need not wait for when it starts, nor keep in memory (S8)."""

import subprocess
import sys

import pytest

SERVICE = (
    "serving.process, serving.service, serving.http.app, serving.http.hot, serving.recording.tables, "
    "serving.recording.mirror, "
    "serving.grpc.server"
)
STARTED = "import serving.process, serving.service; serving.service.Flightline.to_asgi()"
# What no request to this service ever needs; the first is the one that brings the next, and so on.
UNUSED = ["_bentoml_impl.server.proxy", "pyparsing", "circus", "tornado", "zmq", "pygments", "watchfiles"]


def loaded(program: str, names: list[str]) -> list[str]:
    """Which modules of `names` a new process has loaded when it has run `program`."""
    found = f"[name for name in {names!r} if getattr(sys.modules.get(name), '__file__', None)]"
    shown = f"import sys\n{program}\nprint(*{found})"
    done = subprocess.run(
        [sys.executable, "-c", shown], capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout.splitlines()[-1].split()


def test_a_service_has_no_table_library() -> None:
    """Polars would take 25 MB, a pool of threads and a quarter of a second of it."""
    assert loaded(f"import {SERVICE}", ["polars", "pyarrow"]) == []


def test_a_service_imports_nothing_that_only_others_need() -> None:
    """Neither the supervisor of `bentoml serve` nor a proxy."""
    assert loaded(f"from serving.lean import spare; spare()\n{STARTED}", UNUSED) == []


def test_without_that_all_of_it_is_imported() -> None:
    """What is no longer imported anyway need not be spared any more."""
    assert loaded(STARTED, UNUSED) == UNUSED


@pytest.mark.parametrize(
    ("name", "call"),
    [
        (
            "_bentoml_impl.server.proxy",
            "from _bentoml_impl.server.proxy import create_proxy_app as it; it(None)",
        ),
        ("_bentoml_impl.server.serving", "from _bentoml_impl.server import serve_http as it; it()"),
    ],
)
def test_who_calls_what_was_spared_gets_the_real_thing(name, call) -> None:
    """It is imported then, and does what it does: with these arguments it fails."""
    program = (
        f"from serving.lean import spare; spare()\ntry:\n    {call}\n"
        "except (ImportError, AttributeError, TypeError):\n    print('it was called')\n"
    )
    assert loaded(program, [name]) == [name]
