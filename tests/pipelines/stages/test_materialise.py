"""The past goes into the store as a whole, again and again, and a kill leaves what was read before."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import polars as pl
import pytest

from contract.errors import ConfigError, FlightlineError
from contract.schema import Lookup
from pipelines import materialise as module
from pipelines.materialise import main, materialise
from serving.features.completion import Completer
from serving.features.store import open_store
from training.features import examples
from training.models import iris
from training.models.flights import MODEL

ROOT = Path(__file__).parents[3]
AS_OF = datetime(2013, 2, 10, tzinfo=UTC)
NAMES = [feature.name for feature in MODEL.contract.stored]


@pytest.fixture(scope="module")
def sound():
    """What was known of the flights on the tenth of February."""
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(ROOT)
        return module.sound_tables("flights", AS_OF + timedelta(days=1))


@pytest.fixture
def store(tmp_path):
    """An empty store."""
    found = open_store(str(tmp_path / "store.db"))
    yield found
    found.close()


def known(sound, as_of):
    """The tables as they were known at a moment."""
    return MODEL.known(sound, as_of)


def read(store, rows):
    """The stored features of some rows, out of the store alone."""
    names = [feature.name for feature in MODEL.contract.features if not feature.stored]
    completed = Completer(store, cache_seconds=0).complete(
        MODEL.contract,
        rows.select(names).to_dicts(),
        rows.select(MODEL.contract.keys).to_dicts(),
        rows["at"].to_list(),
    )
    return pl.DataFrame(completed.rows, infer_schema_length=None).select(NAMES)


def offline(sound, since, until):
    """The examples of a period with their keys."""
    found = examples(MODEL, sound, since, until)
    return found.join(MODEL.rows(sound).select("id", *MODEL.contract.keys), on="id", how="left")


def test_the_day_before_is_answered_from_what_was_materialised(sound, store):
    """Every stored feature of every flight of that day, to the last bit, without a single event (S3, S4)."""
    done = materialise(MODEL, known(sound, AS_OF), AS_OF, store, say=lambda _: None)
    assert (done.generation, done.records) == (1, 3322)
    rows = offline(sound, AS_OF - timedelta(days=1), AS_OF + timedelta(minutes=1))
    assert rows.height > 700
    found = read(store, rows)
    assert {name for name in NAMES if found[name].to_list() != rows[name].to_list()} == set()


def test_again_is_another_generation_with_the_same_values(sound, store):
    """Rows of the earlier ones are gone."""
    rows = offline(sound, AS_OF - timedelta(hours=3), AS_OF)
    for generation in (1, 2):
        done = materialise(MODEL, known(sound, AS_OF), AS_OF, store, say=lambda _: None)
        assert done.generation == generation
        assert read(store, rows).to_dicts() == rows.select(NAMES).to_dicts()
        with store._file.reading() as db:
            (kept,) = db.execute("SELECT count(*) FROM records")
        assert kept[0] == done.records


def test_a_store_is_never_taken_back(sound, store):
    """The single events up to where it is are gone."""
    materialise(MODEL, known(sound, AS_OF), AS_OF, store, say=lambda _: None)
    earlier = AS_OF - timedelta(days=1)
    with pytest.raises(FlightlineError, match="is materialised up to 2013-02-10"):
        materialise(MODEL, known(sound, earlier), earlier, store, say=lambda _: None)


def test_a_model_without_stored_features_has_nothing_to_materialise(store):
    """Such as iris."""
    with pytest.raises(FlightlineError, match="no feature of iris is stored"):
        materialise(iris.MODEL, {}, AS_OF, store)


def test_records_that_the_model_does_not_make_are_named(sound, store):
    """A look-up in a table of another name; nothing is switched to."""
    features = tuple(
        msgspec.structs.replace(feature, lookup=Lookup("ships", ("tailnum",), "plane_year"))
        if feature.name == "plane_year"
        else feature
        for feature in MODEL.contract.features
    )
    wrong = module.Model(
        **{
            **{name: getattr(MODEL, name) for name in MODEL.__dataclass_fields__},
            "contract": msgspec.structs.replace(MODEL.contract, features=features),
        }
    )
    with pytest.raises(ConfigError, match="declares records 'ships'"):
        materialise(wrong, known(sound, AS_OF), AS_OF, store, say=lambda _: None)
    assert not any(held.generation for held in store.state().groups.values())


@pytest.mark.slow
def test_a_kill_leaves_what_was_read_before_and_the_next_run_goes_on(sound, tmp_path):
    """Kill -9 while the second generation is being written: the first is read; a third replaces it."""
    path = tmp_path / "store.db"
    store = open_store(str(path))
    try:
        materialise(MODEL, known(sound, AS_OF), AS_OF, store, say=lambda _: None)
        rows = offline(sound, AS_OF - timedelta(hours=3), AS_OF)
        command = [sys.executable, "-m", "pipelines.materialise", "flights", "--as-of", "2013-02-10T06:00"]
        command += ["--store", str(path)]
        by_line = {**os.environ, "PYTHONUNBUFFERED": "1"}
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=by_line) as writer:
            for line in writer.stdout:
                if "landings by hour" in line:  # half of it is written
                    writer.send_signal(signal.SIGKILL)
                    break
            assert writer.wait(60) == -signal.SIGKILL
        assert {held.generation for held in store.state().groups.values()} == {1}
        assert read(store, rows).to_dicts() == rows.select(NAMES).to_dicts()
        done = subprocess.run(
            [*command, "--json"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=300
        )
        said = json.loads(done.stdout)
        assert (said["generation"], said["as_of"]) == (3, "2013-02-10T06:00:00+00:00")
        assert {held.generation for held in store.state().groups.values()} == {3}
    finally:
        store.close()


def test_the_command_says_what_it_refuses(tmp_path, monkeypatch):
    """A model that there is not, and an address of another kind."""
    monkeypatch.chdir(ROOT)
    with pytest.raises(ConfigError, match="no model is called 'flight'"):
        main(["flight", "--as-of", "2013-02-10", "--store", str(tmp_path / "x.db")])
    with pytest.raises(ConfigError, match="begins with 'mysql://'"):
        main(["flights", "--as-of", "2013-02-10", "--store", "mysql://x"])
