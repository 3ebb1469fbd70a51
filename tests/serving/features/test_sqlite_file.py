"""The embedded store's file: readers that wait for nobody, each with a view of its own."""

from contextlib import ExitStack

import pytest

from serving.features.sqlite_file import KEPT, SqliteFile
from serving.features.store import StoreError

pytestmark = pytest.mark.unit


@pytest.fixture
def file(tmp_path):
    """An empty file, closed at the end."""
    opened = SqliteFile(tmp_path / "store.db")
    yield opened
    opened.close()


def generation(db):
    """A number of the file."""
    return db.execute("SELECT value FROM meta WHERE name = 'generation'").fetchone()[0]


def test_each_reader_has_one_view_from_its_first_look_on(file):
    """What is written meanwhile is seen by the next one only; all of them read at once."""
    with ExitStack() as readers:
        views = []
        for number in range(3):
            db = readers.enter_context(file.reading())
            assert generation(db) == number
            views.append(db)
            with file.writing() as writer:
                writer.execute("UPDATE meta SET value = value + 1 WHERE name = 'generation'")
        assert list(map(generation, views)) == [0, 1, 2]


def test_readers_one_after_the_other_share_a_connection(file):
    """And of many at once only a few are kept."""
    with file.reading() as first:
        pass
    with ExitStack() as readers:
        opened = [readers.enter_context(file.reading()) for _ in range(KEPT + 3)]
        assert opened[0] is first
    assert len(file._idle) == KEPT


def test_a_closed_file_is_read_no_more(file):
    """Whoever reads ends in peace; whoever comes later is told."""
    with file.reading() as db:
        file.close()
        assert generation(db) == 0
    assert file._idle == []
    with pytest.raises(StoreError, match="it was closed"), file.reading():
        pass


def test_a_reader_that_fails_leaves_its_connection_fit_for_the_next(file):
    """Its view is over."""
    with pytest.raises(StoreError, match="no such table"), file.reading() as db:
        db.execute("SELECT * FROM nowhere")
    with file.reading() as again:
        assert again is db
        assert generation(again) == 0
