"""A service whose versions change."""

import pytest

from tests.serving.models.several import Service


@pytest.fixture
def service(host, make_bundle) -> Service:
    """A service with version 1."""
    return Service(host, make_bundle)
