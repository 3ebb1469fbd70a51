"""Model files are found by name and kept to their interface."""

from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from contract.errors import ConfigError
from tests.training.conftest import TOY
from training import model as models
from training.model import columns

pytestmark = pytest.mark.unit


def test_every_file_in_the_models_folder_is_a_model():
    """Each declares a contract of its own name, and classes that its labels index."""
    assert models.names() == ["flights", "iris"]
    for name in models.names():
        assert models.load(name).contract.model == name


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("flihgts", ", did you mean 'flights'?"),
        ("../iris", ", did you mean 'iris'?"),
        ("boats", ""),
        ("__init__", ""),
        ("", ""),
    ],
)
def test_an_unknown_model_is_refused_with_the_near_miss(name, hint):
    """The sentence lists what there is and how to add one."""
    with pytest.raises(ConfigError) as refused:
        models.load(name)
    assert refused.value.found == f"no model is called '{name}'{hint}"
    assert refused.value.expected == "one of flights, iris"
    assert f"training/models/{name}/__init__.py" in refused.value.remedy


def test_a_file_that_declares_no_model_is_refused(monkeypatch):
    """A file without MODEL = Model(...) is half a model."""
    monkeypatch.setattr(models, "import_module", lambda _: SimpleNamespace(MODEL=3))
    with pytest.raises(ConfigError, match=r"training/models/iris/__init__\.py holds no Model"):
        models.load("iris")


def test_known_keeps_what_was_known_at_the_very_moment():
    """Rows known later are cut; a table without a time stays whole."""
    model = models.load("flights")
    moment = datetime(2013, 4, 1, tzinfo=UTC)
    times = pl.DataFrame({"at": [moment, moment.replace(second=1)]})
    known = model.known({"weather": times, "planes": times}, moment)
    assert {name: table.height for name, table in known.items()} == {"weather": 1, "planes": 2}


def test_columns_come_in_the_graphs_order():
    """Numbers as float32 first, then categories, a missing one as the empty string."""
    table = pl.DataFrame({"letter": ["a", None], "width": [1, 2], "height": [0.1, None], "other": [0, 0]})
    found = columns(table, TOY)
    assert found.columns == ["width", "height", "letter"]
    assert found.dtypes == [pl.Float32, pl.Float32, pl.String]
    assert found["letter"].to_list() == ["a", ""]
    assert found["height"][0] == np.float32(0.1)
