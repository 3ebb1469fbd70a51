"""Files with long tests come first, so that no worker is left alone with one at the end.

pytest-xdist hands out whole files (`--dist loadfile`) in the order of the collection, once it is told not to
begin with those that hold the most tests: those are the quick ones.
"""

import pytest

MARK = "lengthy"


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line("markers", f"{MARK}: takes half a minute or more; its file is begun first")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the marked ones to the front, file by file; otherwise the order stays, random as it is.

    By name: the gates come before the journeys, which then find in DVC's cache what those have built, where
    they would wait for it otherwise.
    """
    items.sort(key=lambda item: (0, item.path.as_posix()) if item.get_closest_marker(MARK) else (1, ""))
