"""Clients that know nothing of this project, each in its own locked environment and process (S1)."""


import pytest

pytestmark = pytest.mark.slow
