"""What every test session loads: named here, not in `addopts`, so that a plain `pytest` finds it too."""

pytest_plugins = ["tests.plugins.order", "tests.plugins.require", "tests.plugins.stores"]
