"""A store that knows what its suites ask of it."""

import pytest

from tests.serving.features.kept import GROUPS


@pytest.fixture
def store(open_stores, kind):
    """An empty store that knows the groups of `CONTRACT`."""
    found = open_stores(kind)
    found.register(GROUPS)
    return found
