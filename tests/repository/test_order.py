"""In which order the files of a whole run are begun."""

import pytest

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.unit

QUICK = "def test_quick(): pass\n"
LENGTHY = "import pytest\npytestmark = pytest.mark.lengthy\ndef test_long(): pass\ndef test_longer(): pass\n"


def test_files_with_long_tests_are_begun_first(pytester) -> None:
    """Whatever their names, and the order of what is left stays."""
    pytester.makepyfile(test_a=QUICK, test_d=LENGTHY, test_b=LENGTHY, test_c=QUICK)
    found = pytester.runpytest_inprocess(
        "-p", "tests.plugins.order", "-p", "no:randomly", "--collect-only", "-q"
    )
    lines = [line for line in found.outlines if "::" in line]
    assert lines == [
        "test_b.py::test_long",
        "test_b.py::test_longer",
        "test_d.py::test_long",
        "test_d.py::test_longer",
        "test_a.py::test_quick",
        "test_c.py::test_quick",
    ]


def test_the_order_is_not_made_anew_by_what_hands_files_out(request) -> None:
    """By itself pytest-xdist would begin with the files that hold the most tests."""
    assert request.config.getoption("loadscopereorder") is False
